import pytest

from controllers.heating.heat import EVIDENCE_S, HeatWatch
from controllers.heating.modes import Alarm
from tests.bench.heating_users import BOILER_OFF_MIN, BOILER_ON_MIN, play, undisturbed
from tests.bench.late_rooms import Late, late_room

MINUTE_S = 60.0


def held(minutes: int = 120, hold: float = 0.4) -> HeatWatch:
    watch = HeatWatch()
    for _ in range(minutes):
        watch.update(22.0, 0.0, hold, hold, MINUTE_S)
    return watch


def falling(watch: HeatWatch, minutes: int, heat: float, hold: float, fall_c: float = 0.05) -> list[bool]:
    """Let a room fall from 21.5 °C with this heat and this estimate of what would hold it."""
    answers = []
    for minute in range(minutes):
        room_c = 21.5 - fall_c * minute
        watch.update(room_c, 22.0 - room_c, heat, hold, MINUTE_S)
        answers.append(watch.lost)
    return answers


@pytest.mark.parametrize(
    ("heat", "hold", "fall_c", "lost"),
    [
        (1.0, 1.4, 0.05, True),
        (1.0, 1.0, 0.05, True),
        (1.0, 0.9, 0.05, False),  # needs more heat, and gets it
        (0.5, 0.9, 0.05, False),  # hardly more heat than before
        (1.0, 1.4, -0.02, False),  # rises
    ],
)
def test_more_heat_without_effect_is_lost(heat: float, hold: float, fall_c: float, lost: bool) -> None:
    assert any(falling(held(), 60, heat, hold, fall_c)) is lost


def test_a_room_that_was_never_held_has_not_lost_its_heat() -> None:
    assert not any(falling(HeatWatch(), 300, 1.0, 1.4))
    assert not any(falling(held(minutes=50), 300, 1.0, 1.4))


@pytest.mark.parametrize("heat", [0.0, 0.1, 0.6, 1.0])
def test_a_room_that_needed_no_heat_loses_none(heat: float) -> None:
    assert not any(falling(held(hold=-0.5), 60, heat, 1.4))


def test_a_room_that_was_swung_has_not_lost_its_heat() -> None:
    watch = held()
    for _ in range(10):
        watch.update(23.5, -1.5, 0.0, 0.4, MINUTE_S)
    assert not any(falling(watch, 300, 1.0, 1.4))


def test_the_heat_is_back_when_the_room_rises() -> None:
    watch = held()
    assert falling(watch, 60, 1.0, 1.4)[-1]
    lost, disturbs = [], []
    for minute in range(60):
        room_c = 18.5 + 0.05 * minute
        watch.update(room_c, 22.0 - room_c, 1.0, 0.4, MINUTE_S)
        lost.append(watch.lost)
        disturbs.append(watch.disturbs)
    assert lost[0]
    assert not lost[20]
    assert disturbs[lost.index(False)]
    assert not disturbs[-1]


def test_evidence_takes_a_quarter_of_an_hour() -> None:
    answers = falling(held(), 60, 1.0, 1.4)
    assert answers.index(True) >= EVIDENCE_S / MINUTE_S - 1


@pytest.mark.parametrize("seed", [1002, 1012])
def test_a_boiler_off_for_three_hours_teaches_nothing(seed: int) -> None:
    def switch(minute: int, plant: Late, control: object) -> None:
        plant.boiler_on = not BOILER_OFF_MIN <= minute < BOILER_ON_MIN

    run = play(undisturbed(late_room(seed)), BOILER_ON_MIN + 300, switch)
    assert run.alarms(BOILER_OFF_MIN, BOILER_ON_MIN) == {Alarm.NO_HEAT}
    assert run.alarms(BOILER_ON_MIN + 60, BOILER_ON_MIN + 300) == set()
    before, after = run.decisions[BOILER_OFF_MIN - 1].identified, run.decisions[-1].identified
    assert before is not None
    assert after is not None
    assert after.rate_c_h == pytest.approx(before.rate_c_h, rel=0.2)
    assert after.hold_pct == pytest.approx(before.hold_pct, abs=8)
    assert run.highest_over_c(BOILER_ON_MIN, BOILER_ON_MIN + 300) <= 0.5


def test_a_valve_that_never_warms_the_room_is_reported() -> None:
    def switch(minute: int, plant: Late, control: object) -> None:
        plant.boiler_on = False

    run = play(undisturbed(late_room(1012)), 4 * 60, switch)
    assert run.alarms(0, 4 * 60) == {Alarm.NO_RISE}
