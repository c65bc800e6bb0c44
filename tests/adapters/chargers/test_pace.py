import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.chargers.pace import BURST_FRAMES, BYTES_PER_FRAME, FRAMES_PER_S, Pace

BURST = int(BURST_FRAMES)


def test_a_burst_is_free_and_one_frame_more_costs_its_time() -> None:
    pace = Pace(0.0)
    assert pace.pause_s(BURST, 0, 0.0) == 0.0
    assert pace.pause_s(1, 0, 0.0) == pytest.approx(1 / FRAMES_PER_S)


def test_what_was_used_comes_back_with_time_but_no_more_than_a_burst() -> None:
    pace = Pace(0.0)
    pace.pause_s(BURST, 0, 0.0)
    assert pace.pause_s(int(FRAMES_PER_S), 0, 1.0) == 0.0
    assert pace.pause_s(1, 0, 1.0) > 0.0
    assert pace.pause_s(BURST, 0, 1_000.0) == 0.0
    assert pace.pause_s(1, 0, 1_000.0) > 0.0


def test_bytes_count_too() -> None:
    pace = Pace(0.0)
    assert pace.pause_s(0, BYTES_PER_FRAME * BURST, 0.0) == 0.0
    assert pace.pause_s(0, BYTES_PER_FRAME, 0.0) == pytest.approx(1 / FRAMES_PER_S)


def test_after_the_pause_there_is_none() -> None:
    pace = Pace(0.0)
    pause_s = pace.pause_s(BURST * 3, 0, 0.0)
    assert pause_s == pytest.approx(2 * BURST / FRAMES_PER_S)
    assert pace.pause_s(0, 0, pause_s) == pytest.approx(0.0)


def test_a_charger_that_sends_every_second_is_never_slowed_down() -> None:
    pace = Pace(0.0)
    assert not any(pace.pause_s(1, 60, float(now_s)) for now_s in range(10_000))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 16_384), st.floats(0, 20)), max_size=30))
def test_nobody_is_faster_than_the_pace_for_long(reads: list[tuple[int, int, float]]) -> None:
    pace, now_s, frames = Pace(0.0), 0.0, 0.0
    for count, size, idle_s in reads:
        now_s += idle_s
        assert frames <= BURST_FRAMES + now_s * FRAMES_PER_S + 1e-3, "read only after the pauses"
        frames += count + size / BYTES_PER_FRAME
        now_s += pace.pause_s(count, size, now_s)
