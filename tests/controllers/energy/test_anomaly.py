import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.energy.anomaly import (
    FLAT_QUARTERS,
    MOST_AT_ONCE,
    MOST_REPORTED,
    SLOTS,
    ReportedAnomalies,
    Unusual,
    anomalies,
)
from controllers.energy.interval import DAY_US
from controllers.energy.quarters import QUARTER_US, Quarters, Values

START_US = 1_535_068_800_000_000  # 2018-08-24T00:00:00Z
EVER = (0, 2**62)


def quarters(kwh: object, start_us: object = None) -> Quarters:
    values = np.asarray(kwh, dtype=np.float64)
    n = len(values)
    start = START_US + np.arange(n) * QUARTER_US if start_us is None else np.asarray(start_us, dtype=np.int64)
    return Quarters(start, values, np.ones(n), np.zeros(n, bool), values < 0)


def days(count: int, noise: float = 0.0) -> Values:
    """Return days of a profile that differs through the day, between 5 and 15 kWh."""
    profile = 10 + 5 * np.sin(np.arange(SLOTS) * 2 * np.pi / SLOTS)
    return np.tile(profile, count) + noise * np.random.default_rng(1).standard_normal(count * SLOTS)


def kinds(found: list[Unusual]) -> list[tuple[int, str]]:
    return [((each.start_us - START_US) // QUARTER_US, each.kind) for each in found]


def test_a_usual_ship_has_no_anomaly() -> None:
    assert anomalies(quarters(days(40, 0.3)), *EVER) == []
    assert anomalies(quarters([]), *EVER) == []
    assert anomalies(quarters([3.0]), *EVER) == []


def test_an_outlier_is_reported_with_the_usual_value() -> None:
    kwh = days(10)
    usual = kwh[7 * SLOTS + 40]
    kwh[7 * SLOTS + 40] = usual * 1.5
    (found,) = anomalies(quarters(kwh), *EVER)
    assert (found.start_us, found.kind) == (START_US + 7 * DAY_US + 40 * QUARTER_US, "outlier")
    assert found.kwh == pytest.approx(usual * 1.5)
    assert found.expected_kwh == pytest.approx(usual)
    assert "usually" in found.text


@pytest.mark.parametrize(("share", "count"), [(1.25, 0), (1.2500001, 1), (0.75, 0), (0.7499999, 1)])
def test_a_flat_profile_tolerates_a_quarter_of_its_value(share: float, count: int) -> None:
    kwh = np.full(SLOTS * 8, 4.0)
    kwh[200] = 4.0 * share
    assert len(anomalies(quarters(kwh), *EVER)) == count


@pytest.mark.parametrize(("value", "count"), [(0.05, 0), (0.0501, 1)])
def test_an_idle_ship_tolerates_the_least_energy(value: float, count: int) -> None:
    kwh = np.zeros(SLOTS * 8)
    kwh[200] = value
    assert len(anomalies(quarters(kwh), *EVER)) == count


@pytest.mark.parametrize(("known", "count"), [(5, 0), (6, 1)])
def test_usual_values_need_five_other_days(known: int, count: int) -> None:
    kwh = days(known)
    kwh[20] = 100.0
    assert len(anomalies(quarters(kwh), *EVER)) == count


def test_a_noisy_quarter_of_the_day_has_a_wider_limit() -> None:
    kwh = days(28, 0.0)
    kwh += np.repeat(np.arange(28) % 9 - 4.0, SLOTS)  # MAD about 2, so that the limit is about 18
    kwh[10 * SLOTS] += 10
    assert anomalies(quarters(kwh), *EVER) == []


def test_partly_covered_quarters_are_left_out() -> None:
    given_ = quarters(days(10))
    kwh, coverage = given_.kwh.copy(), given_.coverage.copy()
    kwh[500], coverage[500] = 0.1, 0.3
    assert anomalies(Quarters(given_.start_us, kwh, coverage, given_.is_estimated, given_.is_negative), *EVER) == []


def test_one_anomaly_for_a_gap() -> None:
    kwh, start = days(2), START_US + np.arange(2 * SLOTS) * QUARTER_US
    keep = np.ones(2 * SLOTS, bool)
    keep[10:14] = keep[100] = False
    found = anomalies(quarters(kwh[keep], start[keep]), *EVER)
    assert kinds(found) == [(10, "missing"), (100, "missing")]
    assert [each.text for each in found] == ["4 quarters missing, 1:00 h", "1 quarter missing, 0:15 h"]
    assert found[0].kwh is None


@pytest.mark.parametrize(("first", "stop", "count"), [(0, 9, 0), (0, 10, 1), (14, 20, 1), (15, 20, 0), (11, 12, 1)])
def test_a_gap_is_found_by_a_change_that_touches_it(first: int, stop: int, count: int) -> None:
    keep = [n for n in range(40) if not 10 <= n < 14]
    given_ = quarters([1.0 + n % 3 for n in keep], [START_US + n * QUARTER_US for n in keep])
    assert len(anomalies(given_, START_US + first * QUARTER_US, START_US + stop * QUARTER_US)) == count


@pytest.mark.parametrize(("length", "count"), [(FLAT_QUARTERS - 1, 0), (FLAT_QUARTERS, 1), (60, 1)])
def test_a_stuck_meter(length: int, count: int) -> None:
    kwh = days(20)
    begin = 15 * SLOTS + 48
    kwh[begin : begin + length] = kwh[begin] + 0.01
    found = [each for each in anomalies(quarters(kwh), *EVER) if each.kind == "flat"]
    assert kinds(found) == [(begin, "flat")] * count


def test_a_flat_stretch_is_found_from_any_change_in_it() -> None:
    kwh = days(20)
    begin = 15 * SLOTS + 48
    kwh[begin : begin + 30] = kwh[begin] + 0.01
    at_us = START_US + (begin + 25) * QUARTER_US
    found = [each for each in anomalies(quarters(kwh), at_us, at_us + QUARTER_US) if each.kind == "flat"]
    assert kinds(found) == [(begin, "flat")]


def test_flat_or_zero_usual_values_are_no_anomaly() -> None:
    assert anomalies(quarters(np.full(20 * SLOTS, 4.0)), *EVER) == []
    kwh = days(20)
    kwh[1500:1560] = 0.0
    assert "flat" not in {each.kind for each in anomalies(quarters(kwh), *EVER)}


def test_readings_of_several_hours_are_not_flat() -> None:
    kwh = days(20)
    kwh[1500:1560] = kwh[1500]
    given_ = quarters(kwh)
    assert "flat" in {each.kind for each in anomalies(given_, *EVER)}
    estimated = np.ones(len(given_), bool)
    split = Quarters(given_.start_us, given_.kwh, given_.coverage, estimated, given_.is_negative)
    assert "flat" not in {each.kind for each in anomalies(split, *EVER)}


def test_negative_quarters() -> None:
    assert kinds(anomalies(quarters([1, -1, 1]), *EVER)) == [(1, "negative")]
    at_us = START_US + QUARTER_US
    assert anomalies(quarters([1, -1, 1]), at_us + 1, at_us + QUARTER_US) == []
    assert len(anomalies(quarters([1, -1, 1]), at_us, at_us + 1)) == 1


def test_only_the_latest_thousand() -> None:
    found = anomalies(quarters(np.full(5000, -1.0)), *EVER)
    assert len(found) == MOST_AT_ONCE
    assert found[-1].start_us == START_US + 4999 * QUARTER_US


def test_each_anomaly_is_reported_once_until_it_ends() -> None:
    reported = ReportedAnomalies()
    kwh = days(10)
    right = kwh[700]
    kwh[700] = 100.0
    wrong = anomalies(quarters(kwh), *EVER)
    assert reported.new(wrong, *EVER) == wrong
    assert reported.new(wrong, *EVER) == []
    assert reported.new([], START_US, START_US + 700 * QUARTER_US) == []  # elsewhere
    assert reported.new(wrong, *EVER) == []
    kwh[700] = right
    assert reported.new(anomalies(quarters(kwh), *EVER), *EVER) == []
    assert reported.new(wrong, *EVER) == wrong


def test_the_number_of_reported_anomalies_is_bounded() -> None:
    reported = ReportedAnomalies()
    many = [Unusual(n, "negative", -1.0, None, "") for n in range(MOST_REPORTED + 5)]
    assert len(reported.new(many, 0, 1)) == MOST_REPORTED + 5
    assert reported.new(many[5:], 0, 0) == []
    assert len(reported.new(many[:5], 0, 0)) == 5


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.floats(-1e12, 1e12)), max_size=200), st.integers(0, 2000), st.integers(0, 500)
)
def test_a_part_of_the_range_finds_the_same(rows: list[tuple[int, float]], first: int, length: int) -> None:
    by_start = dict(rows)
    starts = sorted(by_start)
    given_ = quarters([by_start[n] for n in starts], [START_US + n * QUARTER_US for n in starts])
    from_us, until_us = START_US + first * QUARTER_US, START_US + (first + length) * QUARTER_US
    whole, part = anomalies(given_, *EVER), anomalies(given_, from_us, until_us)
    assert set(part) <= set(whole)
    assert {each for each in whole if from_us <= each.start_us < until_us} <= set(part)
