import math
import statistics
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.moving_average.analysis import analyze_values, mean

SIX: list[tuple[str, float]] = [
    (f"2023-11-01 10:{10 * n:02}:00", value) for n, value in enumerate((100, 120, 90, 130, 115, 80))
]


def test_the_example() -> None:
    found = analyze_values(SIX)
    assert list(found) == ["average", "max", "min", "anomalies"]
    assert found["average"] == pytest.approx(105.83333333333333)
    assert (found["max"], found["min"]) == (130, 80)
    high, low = found["anomalies"]
    assert (high["timestamp"], high["value"]) == ("2023-11-01 10:30:00", 130)
    assert (low["timestamp"], low["value"]) == ("2023-11-01 10:50:00", 80)
    assert (high["deviation"], low["deviation"]) == (pytest.approx(24.1666666667), pytest.approx(25.8333333333))
    assert list(high) == ["timestamp", "value", "deviation"]


def test_nothing() -> None:
    assert analyze_values([]) == {"average": 0, "max": None, "min": None, "anomalies": []}


@pytest.mark.parametrize(
    ("values", "threshold", "anomalies"),
    [
        ([100, 120, 80], 0.2, []),
        ([100, 120.001, 79.999], 0.2, [120.001, 79.999]),
        ([1, 1.1, 0.9], 0.1, []),
        ([-100, -120, -80], 0.2, []),
        ([-100, -121, -79], 0.2, [-121, -79]),
        ([5, -5, 0], 0.2, [5, -5]),
        ([0, 0], 0.2, []),
        ([7], 0.0, []),
        ([0.1] * 3, 0.0, []),
        ([1, 2], 0.0, [1, 2]),
        ([1, 3], 0.5, []),
    ],
)
def test_the_boundary_itself_is_no_anomaly(values: list[float], threshold: float, anomalies: list[float]) -> None:
    found = analyze_values([("t", value) for value in values], threshold)
    assert [each["value"] for each in found["anomalies"]] == anomalies


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf])
def test_non_finite_values_are_anomalies_only(wild: float) -> None:
    found = analyze_values([("a", 10.0), ("b", wild), ("c", 10.0)])
    assert (found["average"], found["max"], found["min"]) == (10.0, 10.0, 10.0)
    (anomaly,) = found["anomalies"]
    assert (anomaly["timestamp"], anomaly["deviation"]) == ("b", None)
    only = analyze_values([("b", wild)])
    assert (only["average"], only["max"], only["min"], len(only["anomalies"])) == (0, None, None, 1)
    beyond = analyze_values([("a", 1e308), ("b", wild)], 10.0)
    assert [each["timestamp"] for each in beyond["anomalies"]] == ["b"], "also where no number can be an anomaly"


def test_numbers_with_an_infinite_sum_have_an_average() -> None:
    assert analyze_values([("t", 1.5e308)] * 4)["average"] == 1.5e308


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        analyze_values(SIX, threshold)


@given(st.lists(st.floats(-1e6, 1e6)), st.floats(0, 10))
def test_it_agrees_with_a_naive_implementation(values: list[float], threshold: float) -> None:
    found = analyze_values([(str(n), value) for n, value in enumerate(values)], threshold)
    if not values:
        return
    average = statistics.fmean(values)
    assert found["average"] == pytest.approx(average, rel=1e-12, abs=1e-9)
    assert (found["max"], found["min"]) == (max(values), min(values))
    reported = {int(each["timestamp"]) for each in found["anomalies"]}
    for n, value in enumerate(values):
        over = abs(value - average) - threshold * abs(average)
        if abs(over) > 1e-9 * max(abs(value), abs(average)):
            assert (n in reported) == (over > 0)


def test_a_million_pairs_are_quick() -> None:
    data = [(str(n), 20.0 + n % 7) for n in range(1_000_000)]
    began_s = time.process_time()
    analyze_values(data)
    assert time.process_time() - began_s < 2, "0.15 s on a quiet machine"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 100])
def test_mean_of_the_largest_numbers_does_not_overflow(count: int) -> None:
    largest = sys.float_info.max
    assert largest * (1 - 1e-15) <= mean([largest] * count) <= largest
    assert mean([-largest] * count) == -mean([largest] * count)
