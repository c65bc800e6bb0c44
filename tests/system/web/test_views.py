"""Every view for everyone: light and dark, by keyboard alone, on a narrow screen, in two languages and time zones."""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.web.assets import LIBRARIES
from tests.system.web.conftest import Plant, opened

pytestmark = [pytest.mark.system, pytest.mark.timeout(180), pytest.mark.xdist_group("page")]
VIEWS = (
    "/",
    "/topics?topic=storage/stats",
    "/timeline?topic=heating/room-1/state&field=temperature&since=5m",
    "/heating",
    "/heating/room-1",
    "/fastening",
    "/machines?machine=1",
    "/charging",
    "/energy",
    "/energy/1",
    "/sql",
    "/why?topic=heating/room-1/state",
)
AXE = (LIBRARIES / "axe-core/axe.min.js").read_text() if LIBRARIES.exists() else ""
CLICKABLE = """
window.clickable = new Set();
window.listen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, ...rest) {
  if (type === "click" && this instanceof Element) window.clickable.add(this);
  return window.listen.call(this, type, ...rest);
};
"""
"""Notes what reacts to a click, before the page's own scripts run."""
INTERACTIVE = """() => {
  const own = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const all = new Set([...document.querySelectorAll(own), ...window.clickable]);
  const elsewhere = "scaup-app, dialog:not([open]) *, [role=tree] *, figure[tabindex='0'] *";
  const shown = [...all].filter(each => each.isConnected && each.checkVisibility());
  window.wanted = shown.filter(each => !each.disabled && !each.matches(elsewhere));
  window.reached = new Set();
  window.listen.call(document, "focusin", event => window.reached.add(event.target));
  document.activeElement?.blur();
  return window.wanted.length;
}"""
MISSED = """() => window.wanted.filter(each => !window.reached.has(each) && each.isConnected
    && !(each.type === "radio" && !each.checked)).map(each => each.outerHTML.slice(0, 200))"""
"""What Tab did not reach. The rows of a tree, the parts of a chart and the buttons of a group have the arrow keys."""


def serious(page: Any) -> list[tuple[str, str]]:
    """Return what axe finds on a page that matters."""
    found = page.evaluate("axe.run()")["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_serves_everyone(plant: Plant, browser: Any, view: str) -> None:
    with opened(browser, "about:blank") as shown:
        page = shown.page
        page.add_init_script(CLICKABLE)
        page.goto(plant.url + view)
        page.get_by_role("navigation").get_by_role("link", name="Topics").wait_for()
        page.wait_for_timeout(300)
        assert unreached(page) == []
        page.evaluate(AXE)
        light = serious(page)
        page.emulate_media(color_scheme="dark")
        assert (light, serious(page)) == ([], [])
        page.set_viewport_size({"width": 320, "height": 700})
        page.wait_for_function("() => document.documentElement.scrollWidth <= 320", timeout=3_000)
        assert [each for each in shown.problems if not each.startswith(plant.url)] == []


def unreached(page: Any) -> list[str]:
    """Return what can be clicked, and is not reached with the Tab key alone."""
    for _ in range(page.evaluate(INTERACTIVE) + 10):
        page.keyboard.press("Tab")
    return list(page.evaluate(MISSED))


@pytest.mark.parametrize(
    ("locale", "zone", "clock"), [("de-DE", "Europe/Berlin", "%H:%M:%S"), ("en-US", "America/New_York", "%-I:%M:%S %p")]
)
def test_times_and_numbers_are_those_of_the_reader(plant: Plant, browser: Any, locale: str, zone: str, clock: str) -> None:
    url = f"{plant.url}/timeline?topic=heating/room-1/state&field=temperature&since=5m"
    with opened(browser, url, locale=locale, timezone_id=zone) as shown:
        shown.page.get_by_text(zone).first.wait_for()
        shown.page.get_by_role("button", name="Table").click()
        shown.page.get_by_role("row").nth(2).wait_for()
        cells = [re.sub(r"\s", " ", each) for each in shown.page.locator("tbody tr").last.locator("td").all_inner_texts()]
    comma = locale == "de-DE"
    value = float(cells[1].removesuffix(" °C").replace(",", "." if comma else ","))
    rows = plant.query(
        "SELECT epoch(received_at) AS s FROM messages WHERE topic = 'heating/room-1/state' "
        f"AND (payload->>'$.temperature')::DOUBLE = {value}"
    )
    times = {datetime.fromtimestamp(row["s"], ZoneInfo(zone)).strftime(clock) for row in rows}
    assert any(each in cells[0] for each in times)
    assert ("," in cells[1]) is (comma and not value.is_integer())
