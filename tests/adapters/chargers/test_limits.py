import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chargers.limits import BURST_FRAMES, BYTES_PER_FRAME, FRAMES_PER_S, RateLimit

BURST = int(BURST_FRAMES)


def test_one_frame_more_than_a_burst_pauses_reading() -> None:
    rate = RateLimit(0.0)
    assert rate.pause_s(BURST, 0, 0.0) == 0.0
    assert rate.pause_s(1, 0, 0.0) == pytest.approx(1 / FRAMES_PER_S)


def test_the_bucket_refills_up_to_one_burst() -> None:
    rate = RateLimit(0.0)
    rate.pause_s(BURST, 0, 0.0)
    assert rate.pause_s(int(FRAMES_PER_S), 0, 1.0) == 0.0
    assert rate.pause_s(1, 0, 1.0) > 0.0
    assert rate.pause_s(BURST, 0, 1_000.0) == 0.0
    assert rate.pause_s(1, 0, 1_000.0) > 0.0


def test_bytes_count_too() -> None:
    rate = RateLimit(0.0)
    assert rate.pause_s(0, BYTES_PER_FRAME * BURST, 0.0) == 0.0
    assert rate.pause_s(0, BYTES_PER_FRAME, 0.0) == pytest.approx(1 / FRAMES_PER_S)


def test_after_the_pause_reading_goes_on() -> None:
    rate = RateLimit(0.0)
    pause_s = rate.pause_s(BURST * 3, 0, 0.0)
    assert pause_s == pytest.approx(2 * BURST / FRAMES_PER_S)
    assert rate.pause_s(0, 0, pause_s) == pytest.approx(0.0)


def test_one_frame_a_second_is_never_paused() -> None:
    rate = RateLimit(0.0)
    assert not any(rate.pause_s(1, 60, float(now_s)) for now_s in range(10_000))


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 16_384), st.floats(0, 20)), max_size=30))
def test_no_client_exceeds_the_rate_for_long(reads: list[tuple[int, int, float]]) -> None:
    rate, now_s, frames = RateLimit(0.0), 0.0, 0.0
    for count, size, idle_s in reads:
        now_s += idle_s
        assert frames <= BURST_FRAMES + now_s * FRAMES_PER_S + 1e-3, "read only after the pauses"
        frames += count + size / BYTES_PER_FRAME
        now_s += rate.pause_s(count, size, now_s)
