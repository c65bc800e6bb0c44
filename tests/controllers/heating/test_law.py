import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.heating.disturbance import HOUR_S
from controllers.heating.law import BAND_S, apply_dead_band, demand
from controllers.heating.model import SHAPE, Beliefs, Identified, RoomModel, identified
from controllers.heating.valve import EXPONENTS, heat_share, level_for, slope

LINEAR, EQUAL_PERCENTAGE = EXPONENTS.index(0.0), len(EXPONENTS) - 1


def belief(room_c: float = 22.0, hold: float = 0.4, heat: float = 0.4, rate_c_h: float = 10.0, curve: int = LINEAR) -> Beliefs:
    """Make the belief of a single candidate: dead time 9 min, lag 8 min."""
    weight = np.zeros(SHAPE)
    weight[2, curve, 1] = 1.0
    every = np.ones(SHAPE)
    return Beliefs(
        weight=weight,
        rate_c_s=every * rate_c_h / HOUR_S,
        doubt_c_s=0.0 * every,
        room_c=every * room_c,
        hold=every * hold,
        hold_trend_s=0.0 * every,
        heat=every * heat,
        in_pipe_s=every * 540.0 * heat,
    )


def test_at_the_setpoint_with_the_right_heat_the_level_holds() -> None:
    wanted = demand(belief(), 22.0)
    assert wanted.proportional_pct == pytest.approx(0.0)
    assert wanted.integral_pct == pytest.approx(40.0)


def test_the_curve_of_the_valve_gives_the_level() -> None:
    wanted = demand(belief(curve=EQUAL_PERCENTAGE), 22.0)
    assert heat_share(wanted.wanted_pct / 100, EXPONENTS[EQUAL_PERCENTAGE]) == pytest.approx(0.4)


@given(st.floats(-0.5, 1.4), st.sampled_from(EXPONENTS))
def test_a_curve_can_be_inverted(level: float, exponent: float) -> None:
    assert level_for(heat_share(level, exponent), exponent) == pytest.approx(level, abs=1e-6)


def test_the_slope_of_a_curve() -> None:
    for exponent in EXPONENTS:
        rise = heat_share(0.501, exponent) - heat_share(0.499, exponent)
        assert slope(0.5, exponent) == pytest.approx(rise / 0.002, rel=0.001)


def test_heat_in_transport_closes_the_valve_early() -> None:
    assert demand(belief(21.5, heat=1.0), 22.0).wanted_pct < demand(belief(21.5, heat=0.4), 22.0).wanted_pct


@given(st.floats(5, 35), st.floats(0, 5), st.floats(-1, 2), st.floats(0, 1), st.floats(1, 300), st.sampled_from(range(6)))
def test_a_warmer_room_never_opens_the_valve_further(
    room_c: float, warmer_c: float, hold: float, heat: float, rate: float, curve: int
) -> None:
    cooler = demand(belief(room_c, hold, heat, rate, curve), 22.0)
    warmer = demand(belief(room_c + warmer_c, hold, heat, rate, curve), 22.0)
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
    assert apply_dead_band(50, wanted_pct, 12 / BAND_S) == expected


@given(st.integers(0, 100), st.floats(-1e6, 1e6), st.floats(1e-4, 0.1))
def test_the_level_is_a_percentage(level: int, wanted_pct: float, rate_c_s: float) -> None:
    assert 0 <= apply_dead_band(level, wanted_pct, rate_c_s) <= 100


def step_response(
    rate_c_h: float = 15.0, lag_s: float = 480.0, dead_minutes: int = 5, exponent: float = 0.0, minutes: int = 180
) -> RoomModel:
    """Run a model on a room that it can describe exactly, heated in three steps."""
    model, room_c, heat = RoomModel(), 16.0, 0.0
    model.start(room_c, 22.0, 0)
    sent = [0.0] * dead_minutes
    for minute in range(minutes):
        level_pct = 40 if minute < 60 else 80 if minute < 120 else 30
        sent.append(heat_share(level_pct / 100, exponent))
        heat += (sent[minute] - heat) * -math.expm1(-60 / lag_s)
        room_c += (rate_c_h * heat - (room_c - 14)) / 60
        model.advance(level_pct, 60.0, room_c)
        model.beliefs(22.0)
    return model


@pytest.mark.parametrize("rate_c_h", [10.0, 15.0, 50.0])
@pytest.mark.parametrize(("lag_s", "low_s", "high_s"), [(300.0, 240, 640), (660.0, 450, 900), (1440.0, 850, 1440)])
def test_rate_and_lag_are_found(rate_c_h: float, lag_s: float, low_s: float, high_s: float) -> None:
    found = identified(step_response(rate_c_h, lag_s).beliefs(22.0))
    assert found.rate_c_h == pytest.approx(rate_c_h, rel=0.35)
    assert low_s <= found.radiator_lag_s <= high_s + 0.1


@pytest.mark.parametrize("dead_minutes", [2, 5, 10, 16, 24])
@pytest.mark.parametrize("exponent", [-4.0, 0.0, 2.8])
def test_the_dead_time_is_found_within_three_minutes(dead_minutes: int, exponent: float) -> None:
    found = identified(step_response(30.0, dead_minutes=dead_minutes, exponent=exponent).beliefs(22.0))
    assert found.transport_s == pytest.approx(60 * dead_minutes, abs=180)


@pytest.mark.parametrize("exponent", [-4.0, -1.5, 0.0, 1.4, 2.4, 3.4])
def test_the_valve_curve_is_found(exponent: float) -> None:
    found = identified(step_response(30.0, dead_minutes=10, exponent=exponent).beliefs(22.0))
    assert found.valve_curve == pytest.approx(exponent, abs=0.9)


def test_a_restarted_model_continues() -> None:
    found = Identified(rate_c_h=12.0, radiator_lag_s=660.0, transport_s=60.0, hold_pct=35.0)
    model = RoomModel()
    model.start(22.0, 22.0, 35, found)
    beliefs = model.beliefs(22.0)
    assert demand(beliefs, 22.0).wanted_pct == pytest.approx(35, abs=0.5)
    assert identified(beliefs).rate_c_h == pytest.approx(12.0, rel=0.1)


@pytest.mark.parametrize("exponent", [-4.0, 0.0, 3.0])
def test_a_restart_keeps_dead_time_and_curve(exponent: float) -> None:
    found = Identified(rate_c_h=30.0, radiator_lag_s=500.0, transport_s=1200.0, hold_pct=60.0, valve_curve=exponent)
    model = RoomModel()
    model.start(22.0, 22.0, 60, found)
    kept = identified(model.beliefs(22.0))
    assert kept.transport_s == pytest.approx(1200, abs=120)
    assert kept.valve_curve == pytest.approx(exponent, abs=0.5)
    assert demand(model.beliefs(22.0), 22.0).wanted_pct == pytest.approx(60, abs=0.5)


def test_knowledge_can_be_restored() -> None:
    model = step_response()
    known, before = model.knowledge(), identified(model.beliefs(22.0))
    for _ in range(10):
        model.advance(10, 60.0, 5.0)
    model.restore(known)
    after = identified(model.beliefs(22.0))
    assert after.rate_c_h == pytest.approx(before.rate_c_h, rel=0.01)
    assert after.hold_pct == pytest.approx(before.hold_pct, rel=0.01)


def test_weights_add_up() -> None:
    assert step_response().beliefs(22.0).weight.sum() == pytest.approx(1.0)


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
