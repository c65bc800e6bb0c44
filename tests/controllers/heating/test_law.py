import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.heating.candidate import HOUR_S
from controllers.heating.law import CLOSING_S, apply_dead_band, demand
from controllers.heating.model import Belief, Identified, RoomModel, identified


def belief(room_c: float = 22.0, hold: float = 0.4, heat: float = 0.4, rate_c_h: float = 10.0, weight: float = 1.0) -> Belief:
    return Belief(weight, rate_c_h / HOUR_S, room_c, hold, heat, heat, lag_s=600.0, transport_s=60.0)


def test_at_the_setpoint_with_the_right_heat_the_level_holds() -> None:
    wanted = demand([belief()], 22.0)
    assert wanted.proportional_pct == pytest.approx(0.0)
    assert wanted.integral_pct == pytest.approx(40.0)


def test_heat_in_transport_closes_the_valve_early() -> None:
    assert demand([belief(21.5, heat=1.0)], 22.0).wanted_pct < demand([belief(21.5, heat=0.4)], 22.0).wanted_pct


@given(st.floats(5, 35), st.floats(0, 5), st.floats(-1, 2), st.floats(0, 1), st.floats(1, 300))
def test_a_warmer_room_never_opens_the_valve_further(
    room_c: float, warmer_c: float, hold: float, heat: float, rate: float
) -> None:
    cooler = demand([belief(room_c, hold, heat, rate)], 22.0)
    warmer = demand([belief(room_c + warmer_c, hold, heat, rate)], 22.0)
    assert warmer.wanted_pct <= cooler.wanted_pct + 1e-9
    assert apply_dead_band(50, warmer.wanted_pct, rate / HOUR_S) <= apply_dead_band(50, cooler.wanted_pct, rate / HOUR_S)


@pytest.mark.parametrize(
    ("level", "wanted_pct", "expected"),
    [
        (50, 50.0, 50),
        (50, 53.9, 50),
        (50, 54.0, 54),
        (50, 46.0, 46),
        (50, 46.1, 50),
        (2, 0.0, 0),
        (2, -30.0, 0),
        (99, 100.0, 100),
        (99, 140.0, 100),
        (0, 0.0, 0),
    ],
)
def test_the_dead_band_of_a_weak_room(level: int, wanted_pct: float, expected: int) -> None:
    assert apply_dead_band(level, wanted_pct, 5 / HOUR_S) == expected


@pytest.mark.parametrize(("wanted_pct", "expected"), [(50.9, 50), (51.0, 51), (49.1, 50), (49.0, 49)])
def test_the_dead_band_of_a_strong_room_is_narrow(wanted_pct: float, expected: int) -> None:
    assert apply_dead_band(50, wanted_pct, 12 / CLOSING_S) == expected


@given(st.integers(0, 100), st.floats(-1e6, 1e6), st.floats(1e-4, 0.1))
def test_the_level_is_a_percentage(level: int, wanted_pct: float, rate_c_s: float) -> None:
    assert 0 <= apply_dead_band(level, wanted_pct, rate_c_s) <= 100


def step_response(rate_c_h: float, lag_s: float, minutes: int = 120) -> RoomModel:
    """Run a model on a room that it can describe exactly, heated in two steps."""
    model, room_c, heat = RoomModel(), 16.0, 0.0
    model.start(room_c, 22.0, 0)
    for minute in range(minutes):
        level_pct = 40 if minute < 60 else 10
        heat += (level_pct / 100 - heat) * 60 / lag_s
        room_c += (rate_c_h * heat - (room_c - 14)) / 60
        model.advance(level_pct, 60.0, room_c)
        model.beliefs(22.0)
    return model


@pytest.mark.parametrize("rate_c_h", [5.0, 15.0, 50.0])
@pytest.mark.parametrize(("lag_s", "low_s", "high_s"), [(300.0, 300, 740), (660.0, 450, 900), (1440.0, 800, 1440)])
def test_rate_and_lag_are_found(rate_c_h: float, lag_s: float, low_s: float, high_s: float) -> None:
    found = identified(step_response(rate_c_h, lag_s).beliefs(22.0))
    assert found.rate_c_h == pytest.approx(rate_c_h, rel=0.35)
    assert low_s <= found.radiator_lag_s <= high_s + 0.1


def test_a_restarted_model_continues() -> None:
    found = Identified(rate_c_h=12.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=35.0)
    model = RoomModel()
    model.start(22.0, 22.0, 35, found)
    beliefs = model.beliefs(22.0)
    assert demand(beliefs, 22.0).wanted_pct == pytest.approx(35, abs=0.5)
    assert identified(beliefs).rate_c_h == pytest.approx(12.0, rel=0.1)


def test_knowledge_can_be_restored() -> None:
    model = step_response(15.0, 660.0)
    known, before = model.knowledge(), identified(model.beliefs(22.0))
    for _ in range(10):
        model.advance(10, 60.0, 5.0)
    model.restore(known)
    after = identified(model.beliefs(22.0))
    assert after.rate_c_h == pytest.approx(before.rate_c_h, rel=0.01)
    assert after.hold_pct == pytest.approx(before.hold_pct, rel=0.01)


def test_weights_add_up() -> None:
    assert sum(each.weight for each in step_response(15.0, 660.0).beliefs(22.0)) == pytest.approx(1.0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.floats(1, 4000), st.one_of(st.none(), st.floats(-20, 60))), min_size=1, max_size=60
    )
)
def test_no_history_breaks_the_model(history: list[tuple[int, float, float | None]]) -> None:
    model = RoomModel()
    model.start(20.0, 22.0, 0)
    for level, dt_s, room_c in history:
        model.advance(level, dt_s, room_c)
        assert 0 <= apply_dead_band(level, demand(model.beliefs(22.0), 22.0).wanted_pct, model.rate_c_s) <= 100
