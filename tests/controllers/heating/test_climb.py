import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.climb import FIRST_PCT, Climb

FELT_S = 1200.0


def climbed(minutes: int, trend_c_h: float = 0.0, felt_s: float = FELT_S, *, rare: bool = False, known: bool = False) -> float:
    climb = Climb()
    climb.start(0)
    for _ in range(minutes):
        climb.update(round(climb.highest_pct), 6.0, trend_c_h / 3600, felt_s, 60.0, rare=rare, known=known)
    return climb.highest_pct


def test_nothing_climbs_before_the_longest_dead_time() -> None:
    assert climbed(25) == FIRST_PCT
    assert climbed(30) > FIRST_PCT


def test_it_climbs_by_half_within_the_time_to_be_felt() -> None:
    assert climbed(45) == pytest.approx(75)
    assert climbed(200) == 100


def test_it_climbs_slower_where_heat_is_felt_later() -> None:
    assert climbed(45, felt_s=2400) < climbed(45) < climbed(45, felt_s=900)
    assert climbed(45, rare=True) < climbed(45)


def test_it_waits_while_the_room_warms_unless_identified() -> None:
    assert climbed(45, trend_c_h=12) == FIRST_PCT
    assert climbed(45, trend_c_h=12, known=True) > FIRST_PCT


def test_it_waits_while_a_lower_level_is_enough() -> None:
    climb = Climb()
    climb.start(0)
    for _ in range(200):
        climb.update(10, 1.0, 0.0, FELT_S, 60.0, rare=False, known=True)
    assert climb.highest_pct == FIRST_PCT


def test_an_identified_room_has_no_limit() -> None:
    assert Climb().highest_pct == 100


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(-10, 20), st.floats(-0.01, 0.01), st.floats(0, 1e4)), max_size=50))
def test_it_never_falls(steps: list[tuple[int, float, float, float]]) -> None:
    climb = Climb()
    climb.start(40)
    for level, error_c, trend_c_s, felt_s in steps:
        before_pct = climb.highest_pct
        climb.update(level, error_c, trend_c_s, felt_s, 300.0, rare=False, known=False)
        assert 40 <= before_pct <= climb.highest_pct <= 100
