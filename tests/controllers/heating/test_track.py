import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.heating.track import Track


@pytest.mark.parametrize("every_min", [1, 2, 10])
@pytest.mark.parametrize("rise_c_h", [-5.0, 0.0, 3.0])
def test_the_trend_of_a_steady_room_is_found(every_min: int, rise_c_h: float) -> None:
    track = Track()
    for minute in range(231):
        moved_c = track.advance(60.0)
        if minute % every_min == 0:
            track.correct(20 + rise_c_h * minute / 60, 0.1)
    assert moved_c == pytest.approx(rise_c_h / 60, abs=0.03)


def test_a_trend_fades_without_measurements() -> None:
    track = Track()
    for minute in range(60):
        track.advance(60.0)
        track.correct(20 + minute / 10, 0.1)
    assert 0 < sum(track.advance(60.0) for _ in range(600)) < 3.5


def test_an_unsure_measurement_moves_less() -> None:
    sure, unsure = Track(), Track()
    for track, noise_c in ((sure, 0.1), (unsure, 1.0)):
        track.correct(20.0, 0.1)
        for _ in range(10):
            track.advance(60.0)
        track.correct(21.0, noise_c)
    assert 0 < unsure.trend_c_s < sure.trend_c_s


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-20, 60), st.floats(0.1, 3)), max_size=40))
def test_a_trend_stays_finite(steps: list[tuple[float, float, float]]) -> None:
    track = Track()
    for dt_s, room_c, noise_c in steps:
        track.advance(dt_s)
        track.correct(room_c, noise_c)
        assert abs(track.trend_c_s) < 100
