"""A job that is driven from the page, while parts of the system are killed."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.system.independent_driver import IndependentDriver, driver, forward
from tests.system.web.conftest import Plant, opened, password, sign_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.xdist_group("page")]
SERIAL = "RP-000120"
STEPS = {1: 10.0, 2: 13.0, 3: 14.0}
"""Of its part, 10-00045 B."""


@pytest.fixture(scope="module")
def torque_driver(plant: Plant) -> Iterator[IndependentDriver]:
    """A driver whose screws the test fastens."""
    with driver(lambda _: []) as made:
        plant.settings["SCAUP_TORQUE_DRIVER_URL"] = made.url
        plant.start("fastening", "torque-adapter")
        until(lambda: made.connections)
        yield made
        for name in ("fastening", "torque-adapter"):
            plant.kill(name)


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_job_survives_kills_of_page_and_controller(plant: Plant, browser: Any, torque_driver: IndependentDriver) -> None:
    with opened(browser, f"{plant.url}/fastening/driver-1") as shown:
        page = shown.page
        sign_in(page, "operator", password(plant))
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_role("textbox", name="Serial number").fill(SERIAL)
        page.get_by_role("textbox", name="Serial number").press("Enter")
        job = page.get_by_role("region", name="Job")
        job.get_by_text("Step 1 of 3").wait_for()
        until(lambda: torque_driver.set_to[-1:] == ["10.0"])
        torque_driver.send(forward(10.01, 10.0))
        job.get_by_text("✓ In range: 10.01").wait_for()

        until(lambda: torque_driver.set_to[-1:] == ["13.0"])
        plant.kill("web")
        torque_driver.send(forward(15.5, 13.0))  # while the web server is down
        until(lambda: torque_driver.set_to[-1:] == ["reverse"])
        torque_driver.send(json.dumps(forward(0, 0)).replace("forward", "reverse"))
        until(lambda: torque_driver.set_to[-1:] == ["13.0"])
        plant.start("web")
        job.get_by_text("✗ Out of range: 15.5").wait_for()
        job.get_by_text("Step 2 of 3").wait_for()

        plant.kill("fastening")
        torque_driver.send(forward(13.02, 13.0))  # it waits at the broker
        plant.start("fastening")
        job.get_by_text("Step 3 of 3").wait_for()
        until(lambda: torque_driver.set_to[-1:] == ["14.0"])
        torque_driver.send(forward(14.03, 14.0))
        job.get_by_text("All 3 screws are in range").wait_for()

        results = page.get_by_role("table", name="Results")
        results.get_by_role("row").nth(4).wait_for()
        cells = results.locator("tbody td:nth-child(-n+3)").all_inner_texts()
        on_screen = [(int(step), float(torque.split()[0]), word) for step, torque, word in zip(*[iter(cells)] * 3, strict=True)]
    events = plant.query(
        "SELECT step, torque_nm, event FROM fastening_event "
        f"WHERE serial = '{SERIAL}' AND torque_nm IS NOT NULL AND event LIKE '%range' ORDER BY number"
    )
    recorded = [(each["step"], float(each["torque_nm"]), each["event"]) for each in events]
    assert recorded == [(1, 10.01, "in range"), (2, 15.5, "out of range"), (2, 13.02, "in range"), (3, 14.03, "in range")]
    assert sorted(on_screen) == sorted(recorded)
    stored = plant.query(f"SELECT step, torque_nm FROM fastening WHERE serial = '{SERIAL}' ORDER BY step")
    assert [(each["step"], float(each["torque_nm"])) for each in stored] == [(1, 10.01), (2, 13.02), (3, 14.03)]
