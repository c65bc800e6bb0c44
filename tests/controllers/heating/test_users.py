"""What users of other thermostats report does not happen here."""

import pytest

from tests.bench.heating_users import SCENARIOS, verdict
from tests.bench.late_rooms import late_room

ROOMS = (1000, 1002, 1003, 1009, 1012)
"""Tuning rooms: quick opening; equal percentage with 19, 15 and 20 minutes of dead time; linear, very quick, 16 minutes."""
NOT_YET: dict[str, tuple[int, ...]] = {
    "setback": (1000, 1009),
    "boiler off": (1009,),
    "summer": (1000, 1002),
}


def cases() -> list[object]:
    return [
        pytest.param(name, room, marks=[pytest.mark.xfail(strict=True)] if room in NOT_YET.get(name, ()) else [])
        for name in SCENARIOS
        for room in ROOMS
    ]


@pytest.mark.parametrize(("scenario", "room"), cases())
def test_what_users_report_does_not_happen(scenario: str, room: int) -> None:
    assert verdict(scenario, SCENARIOS[scenario](late_room(room))) == []
