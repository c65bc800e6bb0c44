"""What the page shows while something is frozen, killed or asleep, and that its charts are whole afterwards."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from tests.real_broker import LocalMosquitto
from tests.system.web.conftest import Plant, opened

pytestmark = [pytest.mark.system, pytest.mark.quiet, pytest.mark.timeout(120), pytest.mark.xdist_group("page")]
QUERY = "topic=heating/room-1/state&field=temperature&since=1h"
CHART = "(({at, value}) => ({at, value}))(document.querySelector('field-chart').series[0])"
RECORDED = (
    "SELECT (payload->>'$.temperature')::DOUBLE AS t, epoch_us(received_at) / 1e6 AS s FROM messages "
    "WHERE topic = 'heating/room-1/state' AND t IS NOT NULL ORDER BY number"
)
WITHIN_S, HOLE_S = 2.0, 5.0


@contextmanager
def noticed(page: Any, text: str) -> Iterator[None]:
    """Check that an alert says so within 2 s of the beginning of the block, and is gone some time after its end."""
    alert = page.get_by_role("alert").filter(has_text=text).first
    began_s = time.monotonic()
    yield
    alert.wait_for()
    took_s = time.monotonic() - began_s
    assert took_s < WITHIN_S, f"{text!r} after {took_s:.2f} s"


def assert_whole(plant: Plant, page: Any) -> None:
    """Check that the table shows every recorded value once, and the chart, which thins, no value twice and no hole."""
    shown = page.get_by_role("row").count()
    page.get_by_role("row").nth(shown + 1).wait_for()  # what comes after the interruption is there
    texts = page.locator("tbody td:nth-child(2)").all_inner_texts()
    chart = page.evaluate(CHART)
    rows = plant.query(RECORDED)
    known, instants = [row["t"] for row in rows], [row["s"] for row in rows]
    table = [float(each.removesuffix(" °C")) for each in reversed(texts)]
    assert table == known[: len(table)]
    assert len(known) - len(table) < 5
    assert all(before < after for before, after in pairwise(chart["at"]))
    drawn = [value for value in chart["value"] if value is not None]
    assert drawn[-1] in known[-10:]
    assert set(drawn) <= set(known)
    pauses = [after - before for before, after in pairwise(instants)]
    assert len(chart["value"]) - len(drawn) == sum(each > HOLE_S for each in pauses)


def test_freezes_are_noticed_and_leave_charts_whole(plant: Plant, browser: Any) -> None:
    process = plant.broker.process
    with opened(browser, f"{plant.url}/timeline?{QUERY}") as shown:
        page = shown.page
        page.get_by_role("button", name="Table").click()
        page.get_by_role("row").nth(2).wait_for()
        frozen = {"web server": plant.processes["web"].pid, "recorder": plant.processes["recorder"].pid}
        if isinstance(process, LocalMosquitto) and process.pid is not None:
            frozen["broker"] = process.pid
        for text, pid in frozen.items():
            try:
                with noticed(page, text):
                    os.kill(pid, signal.SIGSTOP)
            finally:
                os.kill(pid, signal.SIGCONT)
            page.get_by_role("alert").first.wait_for(state="detached")
        assert_whole(plant, page)


def test_a_killed_broker_is_noticed_and_charts_go_on(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/timeline?{QUERY}") as shown:
        page = shown.page
        page.get_by_role("button", name="Table").click()
        page.get_by_role("row").nth(2).wait_for()
        with noticed(page, "broker"):
            plant.broker.kill()
        plant.broker.start()
        page.get_by_role("alert").first.wait_for(state="detached", timeout=30_000)
        assert_whole(plant, page)


def test_a_machine_that_slept_shows_all_of_it(plant: Plant, browser: Any) -> None:
    """The browser is what sleeps: its network ends, and comes back on another connection."""
    with opened(browser, f"{plant.url}/timeline?{QUERY}") as shown:
        page = shown.page
        page.get_by_role("button", name="Table").click()
        page.get_by_role("row").nth(2).wait_for()
        with noticed(page, "web server"):
            shown.page.context.set_offline(True)
        page.wait_for_timeout(1000)
        shown.page.context.set_offline(False)
        page.get_by_role("alert").first.wait_for(state="detached")
        assert_whole(plant, page)
