"""A topic on the page: what arrived late is marked, what changed is named, and its file has every message."""

import csv
import io
import json
import re
import time
from typing import Any

import pyarrow.parquet as pq
import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.publish import multiple

from tests.system.web.conftest import Plant, opened

pytestmark = [pytest.mark.system, pytest.mark.timeout(90), pytest.mark.xdist_group("page")]

TOPIC = "machines/7/reading"
READINGS = 12


def publish(plant: Plant) -> None:
    """Publish readings of a machine, every third of which is an hour old."""
    messages: list[Any] = []
    for number in range(READINGS):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - (3600 if number % 3 == 0 else 0)))
        payload = json.dumps({"id": 7, "temperature": number, "a.b": {"7": number + 0.5}, "timestamp": at})
        messages.append((TOPIC, payload, 1, False))
    multiple(messages, hostname=plant.broker.host, port=plant.broker.port, protocol=MQTTProtocolVersion.MQTTv5)


def test_late_values_are_marked_and_a_file_has_all(plant: Plant, browser: Any) -> None:
    publish(plant)
    with opened(browser, f"{plant.url}/topics?topic={TOPIC}") as shown:
        page = shown.page
        region = page.get_by_role("region", name="Topic", exact=True)
        region.get_by_text("10 → 11").wait_for()
        files = {}
        for form in ("CSV", "Parquet"):
            with page.expect_download() as download:
                region.get_by_role("button", name=form).click()
            files[form] = download.value.path().read_bytes()
        region.get_by_role("link", name=r"a\.b.7").click()
        page.get_by_text("◇ 4 late").wait_for()
        page.get_by_role("button", name="Table").click()
        page.get_by_role("row").nth(READINGS).wait_for()
        cells = [each.locator("td").all_inner_texts() for each in page.locator("tbody tr").all()]
        assert shown.problems == []
    assert [float(each[1]) for each in reversed(cells)] == [number + 0.5 for number in range(READINGS)]
    assert [bool(re.match("◇ late, of ", each[2])) for each in reversed(cells)] == [
        number % 3 == 0 for number in range(READINGS)
    ]
    recorded = [each["number"] for each in plant.query(f"SELECT number FROM messages WHERE topic = '{TOPIC}' ORDER BY number")]
    assert [int(row["number"]) for row in csv.DictReader(io.StringIO(files["CSV"].decode()))] == recorded
    assert pq.read_table(io.BytesIO(files["Parquet"]))["number"].to_pylist() == recorded


def test_a_wrong_filter_says_what_is_wrong(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/topics?filter=a%2B/b") as shown:
        shown.page.get_by_role("alert").get_by_text("must be a whole level").wait_for()
        shown.page.get_by_role("searchbox", name="Filter").fill("heating/+/state")
        shown.page.get_by_role("treeitem", name=re.compile("^state")).first.wait_for()
        assert shown.page.get_by_role("alert").count() == 0
