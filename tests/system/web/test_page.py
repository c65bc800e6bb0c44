"""The page in a real browser, by role and name, beside what was recorded."""

import json
import re
import subprocess
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.system.web.conftest import Plant, opened, password, sign_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(180), pytest.mark.xdist_group("page")]


def test_the_first_load_is_small(plant: Plant, browser: Any) -> None:
    with opened(browser, "about:blank") as shown:
        sizes: list[int] = []
        shown.page.on("requestfinished", lambda each: sizes.append(each.sizes()["responseBodySize"]))
        shown.page.goto(plant.url)
        shown.page.get_by_role("table", name="Components").get_by_text("recorder").wait_for()
        assert sum(sizes) <= 150_000


def test_components_are_those_that_run(plant: Plant, browser: Any) -> None:
    with opened(browser, plant.url) as shown:
        table = shown.page.get_by_role("table", name="Components")
        for name in plant.processes:
            assert "online" in table.get_by_role("row", name=re.compile(f"^{name} ")).inner_text()


def test_a_filter_shows_the_value_that_is_recorded(plant: Plant, browser: Any) -> None:
    plant.scaup("heating", "setpoint", "room-1", "21.5")
    with opened(browser, f"{plant.url}/topics?filter=heating/%2B/setpoint") as shown:
        item = shown.page.get_by_role("treeitem", name=re.compile("^setpoint"))
        item.wait_for()
        assert shown.page.get_by_role("searchbox", name="Filter").input_value() == "heating/+/setpoint"
        item.click()
        region = shown.page.get_by_role("region", name="Topic", exact=True)
        region.locator("pre").get_by_text("celsius").wait_for()
        recorded = plant.query(
            "SELECT payload FROM messages WHERE topic = 'heating/room-1/setpoint' ORDER BY number DESC LIMIT 1"
        )
        assert json.loads(region.locator("pre").inner_text()) == json.loads(recorded[0]["payload"])


def test_the_timeline_has_every_recorded_value(plant: Plant, browser: Any) -> None:
    query = "topic=heating/room-1/state&field=temperature&since=1h"
    with opened(browser, f"{plant.url}/timeline?{query}") as shown:
        shown.page.get_by_role("button", name="Table").click()
        column = shown.page.get_by_role("columnheader", name="temperature")
        column.wait_for()
        time.sleep(3)  # some more are recorded meanwhile
        shown.page.get_by_role("row").nth(3).wait_for()
        texts = shown.page.locator("tbody td:nth-child(2)").all_inner_texts()
    values = [float(each.removesuffix(" °C")) for each in reversed(texts)]
    recorded = plant.query(
        "SELECT (payload->>'$.temperature')::DOUBLE AS t FROM messages WHERE topic = 'heating/room-1/state' ORDER BY number"
    )
    known = [row["t"] for row in recorded if row["t"] is not None]
    assert values == known[: len(values)]
    assert len(values) > 3


def test_sql_is_answered_and_kept_in_the_address(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/sql") as shown:
        shown.page.get_by_role("textbox", name="SQL").fill("SELECT 6 * 7 AS answer")
        shown.page.get_by_role("button", name="Run").click()
        table = shown.page.get_by_role("table", name="Result")
        table.get_by_role("cell", name="42").wait_for()
        assert "query=SELECT+6" in shown.page.url
        shown.page.get_by_role("textbox", name="SQL").fill("SELECT count(*) FROM range(1000000000000)")
        shown.page.get_by_role("button", name="Run").click()
        shown.page.get_by_role("button", name="Cancel").click()
        shown.page.get_by_text("cancelled").wait_for()


def test_the_page_says_that_its_server_is_lost(plant: Plant, browser: Any) -> None:
    with opened(browser, plant.url) as shown:
        shown.page.get_by_role("table", name="Components").wait_for()
        plant.kill("web")
        lost_s = time.monotonic()
        shown.page.get_by_role("alert").filter(has_text="web server").wait_for()
        assert time.monotonic() - lost_s < 2
        plant.start("web")
        shown.page.get_by_role("alert").filter(has_text="web server").wait_for(state="detached")


def test_a_setpoint_is_set_by_who_signed_in(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/heating/room-1") as shown:
        page = shown.page
        page.get_by_role("spinbutton", name="Setpoint").fill("20.5")
        page.get_by_role("button", name="Set", exact=True).click()
        page.get_by_role("dialog").wait_for()
        page.get_by_role("button", name="Close").click()
        assert plant.query("SELECT * FROM messages WHERE topic = 'heating/room-1/setpoint' AND payload LIKE '%20.5%'") == []
        sign_in(page, "operator", "wrong")
        page.get_by_role("dialog").get_by_role("alert").filter(has_text="wrong").wait_for()
        page.get_by_role("button", name="Close").click()
        sign_in(page, "operator", password(plant))
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_role("spinbutton", name="Setpoint").fill("20.5")
        page.get_by_role("button", name="Set", exact=True).click()
        page.get_by_role("status").filter(has_text="acknowledged").wait_for()
        rows = plant.query(
            "SELECT payload, source FROM messages WHERE topic = 'heating/room-1/setpoint' ORDER BY number DESC LIMIT 1"
        )
        assert [(json.loads(row["payload"]), row["source"]) for row in rows] == [({"celsius": 20.5}, "operator")]


def test_nothing_is_lost_or_doubled_over_a_killed_recorder(plant: Plant, browser: Any) -> None:
    query = "topic=heating/room-1/state&field=temperature&since=1h"
    with opened(browser, f"{plant.url}/timeline?{query}") as shown:
        page = shown.page
        page.get_by_role("button", name="Table").click()
        page.get_by_role("row").nth(2).wait_for()
        plant.kill("recorder")
        lost_s = time.monotonic()
        page.get_by_role("alert").filter(has_text="recorder").first.wait_for()
        assert time.monotonic() - lost_s < 2
        plant.start("recorder")
        page.get_by_role("alert").first.wait_for(state="detached")
        before = page.get_by_role("row").count()
        page.get_by_role("row").nth(before + 2).wait_for()
        texts = page.locator("tbody td:nth-child(2)").all_inner_texts()
    values = [float(each.removesuffix(" °C")) for each in reversed(texts)]
    recorded = plant.query(
        "SELECT (payload->>'$.temperature')::DOUBLE AS t FROM messages WHERE topic = 'heating/room-1/state' ORDER BY number"
    )
    assert values == [row["t"] for row in recorded if row["t"] is not None][: len(values)]


def test_the_past_is_shown_and_publishes_nothing(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/heating/room-1?since=2m") as shown:
        page = shown.page
        page.get_by_role("button", name="Past").click()
        page.get_by_role("region", name="Past").wait_for()
        sign_in(page, "operator", password(plant))
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_role("spinbutton", name="Setpoint").fill("19.5")
        page.get_by_role("button", name="Set", exact=True).click()
        page.get_by_role("alert").filter(has_text="past").wait_for()
        assert plant.query("SELECT * FROM messages WHERE topic = 'heating/room-1/setpoint' AND payload LIKE '%19.5%'") == []
        page.get_by_role("button", name="Now", exact=True).click()
        page.get_by_role("region", name="Past").wait_for(state="detached")


HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    '"><svg onload=window.hit=1>',
    "' onfocus=window.hit=1 autofocus tabindex=1 x='",
    "javascript:window.hit=1",
    "${window.hit=1}",
    "{{constructor.constructor('window.hit=1')()}}",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<!--><math><mtext></p><img src onerror=window.hit=1>-->",
    "\\u003cimg src=x onerror=window.hit=1\\u003e",
    "</textarea></title></style><a href=javascript:hit=1>hit=1",
    "<style>@import'//evil.example/hit=1'</style>",
)


def test_nothing_that_was_sent_is_run(plant: Plant, browser: Any) -> None:
    for number, text in enumerate(HOSTILE):
        reading = json.dumps({"sensorID": text, "type": "temperature", "value": 20.0 + number})
        topic = f"/readings/{text.replace('/', '|')}/temperature"
        command = ["mosquitto_pub", "-p", str(plant.broker.port), "-q", "1", "-t", topic]
        subprocess.run([*command, "-m", reading], check=True)
    sql = quote("SELECT topic, payload FROM messages WHERE payload LIKE '%hit%'")
    timeline = f"/timeline?topic={quote(HOSTILE[0])}&field={quote(HOSTILE[2])}&since=1h"
    for path in ("/topics?filter=hit", "/heating", f"/sql?query={sql}", timeline):
        with opened(browser, plant.url + path) as shown:
            shown.page.get_by_text("hit=1").first.wait_for()
            for item in shown.page.get_by_role("treeitem").filter(has_text="hit=1").all()[:8]:
                item.click()
                shown.page.wait_for_timeout(100)
            assert shown.page.evaluate("window.hit") is None
            assert shown.problems == []
