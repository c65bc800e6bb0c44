from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.energy.interval import DAY_US, MINUTE_US, UnknownInterval, infer_intervals
from controllers.energy.quarters import QUARTER_US, Quarters, Readings, to_quarters
from controllers.energy.series import Series, merged

START_US = int(datetime(2018, 8, 24, tzinfo=UTC).timestamp()) * 1_000_000


def readings(minutes: list[float], values: list[float], unit: str = "kWh", given: int = 0) -> Readings:
    n = len(values)
    times = START_US + np.array([round(each * MINUTE_US) for each in minutes], np.int64)
    return Readings(times, np.array(values, float), np.full(n, unit == "kW"), np.full(n, given * MINUTE_US, np.int64))


def every(minutes: float, values: list[float], unit: str = "kWh", start: float = 0) -> Readings:
    return readings([start + n * minutes for n in range(len(values))], values, unit)


def by_minute(quarters: Quarters) -> dict[int, float]:
    return {
        int(start - START_US) // MINUTE_US: kwh for start, kwh in zip(quarters.start_us, quarters.kwh.tolist(), strict=True)
    }


@pytest.mark.parametrize(
    ("given", "kwh"),
    [
        (every(60, [12, 26, 18]), [3.0] * 4 + [6.5] * 4 + [4.5] * 4),
        (every(5, [22, 24, 23, 18, 22, 23, 8], "kW"), [5.75, 5.25, 2.0]),
        (every(15, [2, 5, 2, 6]), [2.0, 5.0, 2.0, 6.0]),
        (every(5, [1, 4, 1], "kW"), [0.5]),
        (readings([0], [6], "kW", 5), [1.5]),
        (every(15, [4, 8], "kW"), [1.0, 2.0]),
        (every(60, [4, 8], "kW"), [1.0] * 4 + [2.0] * 4),
        (every(5, [1, 2, 3, 4]), [6.0, 4.0]),
        (every(1, [0.5] * 30), [7.5, 7.5]),
        (every(10, [6, 6, 6], "kW"), [1.5, 1.5]),
        (every(10, [1, 1, 1]), [1.5, 1.5]),
        (every(30, [1, 3]), [0.5, 0.5, 1.5, 1.5]),
        (every(1440, [96, 192]), [1.0] * 96 + [2.0] * 96),
        (every(60, [-12, 12]), [-3.0] * 4 + [3.0] * 4),
        (every(15, [0, 0]), [0.0, 0.0]),
    ],
)
def test_the_rules(given: Readings, kwh: list[float]) -> None:
    assert to_quarters(given).kwh.tolist() == pytest.approx(kwh, abs=1e-12)


def test_a_partly_covered_quarter_is_marked() -> None:
    quarters = to_quarters(every(5, [22, 24, 23, 18, 22, 23, 8], "kW"))
    assert quarters.coverage.tolist() == pytest.approx([1, 1, 1 / 3])


def test_gaps_are_not_bridged() -> None:
    quarters = to_quarters(readings([0, 15, 30, 90, 105], [1, 2, 3, 4, 5]))
    assert by_minute(quarters) == {0: 1, 15: 2, 30: 3, 90: 4, 105: 5}
    hourly = to_quarters(readings([0, 60, 120, 300], [4, 4, 4, 8]))
    assert sorted(by_minute(hourly)) == [*range(0, 180, 15), *range(300, 360, 15)]


def test_negative_and_split_values_are_marked() -> None:
    quarters = to_quarters(every(60, [-4, 4]))
    assert quarters.is_negative.tolist() == [True] * 4 + [False] * 4
    assert quarters.is_estimated.all()
    assert not to_quarters(every(15, [1, 2])).is_estimated.any()


def test_intervals_follow_from_the_series() -> None:
    def minutes(given: Readings) -> list[float]:
        return [each / MINUTE_US for each in infer_intervals(given.time_us, given.is_power, given.given_us).tolist()]

    assert minutes(readings([0, 5, 20, 25, 60], [1] * 5)) == [5] * 5
    assert minutes(readings([0, 10, 30], [1] * 3)) == [10] * 3
    assert minutes(readings([0, 5, 7, 10, 15], [1] * 5)) == [5] * 5
    assert minutes(readings([0, 4.9, 10.1, 15], [1] * 4)) == [5] * 4
    hourly = [60 * n for n in range(20)]
    finer = [hourly[-1] + 60 + 15 * n for n in range(40)]
    assert minutes(readings([*hourly, *finer], [1] * 60)) == [60] * 20 + [15] * 40
    two_days_later = [2_880 + 15 * n for n in range(4)]
    assert minutes(readings([0, 60, 120, *two_days_later], [1] * 7)) == [60] * 3 + [15] * 4


def test_a_single_reading_needs_its_interval() -> None:
    with pytest.raises(UnknownInterval, match="interval_minutes"):
        to_quarters(readings([0], [1]))
    assert to_quarters(readings([0], [4], given=60)).kwh.tolist() == [1.0] * 4
    series = Series()
    series.post(readings([0], [4], given=60))
    series.post(readings([180], [8]))
    assert by_minute(series.quarters) == {**dict.fromkeys(range(0, 60, 15), 1.0), **dict.fromkeys(range(180, 240, 15), 2.0)}


def test_two_units_do_not_count_twice() -> None:
    both = merged(every(15, [1, 1], start=0), every(5, [4, 4, 4], "kW", start=30))
    assert by_minute(to_quarters(both)) == {0: 1, 15: 1, 30: 1}


SERIES = st.tuples(
    st.sampled_from([1, 5, 10, 15, 30, 60, 120, 1440]),
    st.sampled_from(["kW", "kWh"]),
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=60),
)


def known(series: tuple[int, str, list[float | None]]) -> Readings:
    step, unit, values = series
    there = [(n * step, value) for n, value in enumerate(values) if value is not None]
    return readings([minute for minute, _ in there], [value for _, value in there], unit)


@settings(max_examples=300)
@given(SERIES, st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_and_repetition_do_not_change_quarters(
    series: tuple[int, str, list[float | None]], random: np.random.Generator, pieces: int
) -> None:
    whole = known(series)
    if len(whole) < 2:
        return
    expected = to_quarters(whole)
    places = list(range(len(whole)))
    random.shuffle(places)
    posted = Series()
    for piece in [places[:2], *[places[n::pieces] for n in range(pieces)] * 2]:
        posted.post(Readings(*(getattr(whole, name)[piece] for name in Readings.__slots__)))
    assert posted.quarters.start_us.tolist() == expected.start_us.tolist()
    assert posted.quarters.kwh.tolist() == expected.kwh.tolist()
    assert posted.quarters.coverage.tolist() == expected.coverage.tolist()


@settings(max_examples=300)
@given(SERIES)
def test_energy_is_conserved(series: tuple[int, str, list[float | None]]) -> None:
    _, unit, _ = series
    whole = known(series)
    if len(whole) < 2:
        return
    quarters = to_quarters(whole)
    intervals = infer_intervals(whole.time_us, whole.is_power, whole.given_us)
    until_next = np.append(np.diff(whole.time_us), intervals[-1])
    if unit == "kWh":
        assert quarters.kwh.sum() == pytest.approx(whole.value.sum(), abs=1e-9 * max(1, np.abs(whole.value).sum()))
    else:
        lasting = np.minimum(until_next, intervals)
        energy = (whole.value * lasting / (60 * MINUTE_US)).sum()
        scale = max(1, np.abs(whole.value).sum())
        assert (quarters.kwh * quarters.coverage).sum() == pytest.approx(energy, abs=1e-9 * scale)


@settings(max_examples=200)
@given(SERIES, st.lists(st.floats(0, 100_000), max_size=20))
def test_quarters_are_aligned_ordered_and_finite(series: tuple[int, str, list[float | None]], irregular: list[float]) -> None:
    whole = merged(known(series), readings(irregular, [1.0] * len(irregular)))
    if len(whole) < 2:
        return
    quarters = to_quarters(whole)
    assert (quarters.start_us % QUARTER_US == 0).all()
    assert (np.diff(quarters.start_us) > 0).all()
    assert (quarters.coverage > 0).all()
    assert (quarters.coverage <= 1).all()
    assert np.isfinite(quarters.kwh).all()


def test_a_post_returns_its_changes() -> None:
    series = Series()
    assert by_minute(series.post(every(15, [1, 2, 3])).quarters) == {0: 1, 15: 2, 30: 3}
    assert by_minute(series.post(every(15, [1, 2, 4])).quarters) == {30: 4}
    assert len(series.post(every(15, [1, 2, 4])).quarters) == 0


def test_later_finer_readings_remove_quarters() -> None:
    series = Series()
    series.post(readings([0, 60, 120], [4, 4, 4]))
    changes = series.post(readings([15, 30, 75, 90, 135, 150], [1] * 6))
    assert by_minute(series.quarters) == dict.fromkeys([0, 15, 30, 60, 75, 90, 120, 135, 150], 1.0) | {0: 4, 60: 4, 120: 4}
    assert [(each - START_US) // MINUTE_US for each in changes.removed_us] == [45, 105, 165]
    assert DAY_US > 0
