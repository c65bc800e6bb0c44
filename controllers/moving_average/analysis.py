"""Average, extremes and anomalies of recorded values. Pure."""

import math
import sys
from typing import Any

_ROUNDING = 1e-12
"""Relative tolerance: a deviation that exceeds the limit by less does so only by floating-point rounding."""


def analyze_values(data: list[tuple[str, float]], anomaly_threshold: float = 0.2) -> dict[str, Any]:
    """Return average, maximum, minimum and anomalies of (timestamp, value) pairs, n ≥ 0, in any order.

    A value is an anomaly when it is farther from the average than `anomaly_threshold` (a share, 0 or more) of the average's
    absolute value; `deviation` is that distance, in the values' unit. Anomalies are in the order of `data`.

    Without data the average is 0, `max` and `min` are None, and there are no anomalies. NaN and infinite values are
    left out of average, `max` and `min`, and each of them is an anomaly whose `deviation` is None; if there are no others, the
    rest is as without data. With an average of 0, every other value is an anomaly.

    Raises:
        ValueError: the threshold is negative, infinite or not a number.
    """
    if not 0 <= anomaly_threshold < math.inf:
        raise ValueError(f"a threshold is a share of 0 or more, not {anomaly_threshold}")
    finite = [value for _, value in data if math.isfinite(value)]
    average = mean(finite)
    limit = min(anomaly_threshold * abs(average), sys.float_info.max)
    return {
        "average": average,
        "max": max(finite, default=None),
        "min": min(finite, default=None),
        "anomalies": _anomalies(data, average, limit),
    }


def mean(numbers: list[float]) -> float:
    """Return the mean of finite numbers, 0 of none; exact but for its last rounding."""
    if not numbers:
        return 0.0
    try:
        return math.fsum(numbers) / len(numbers)
    except OverflowError:
        scale = 0.5 ** (len(numbers).bit_length() + 1)  # a power of two: exact, and the sum stays in range
        return math.fsum(number * scale for number in numbers) / len(numbers) / scale


def _anomalies(data: list[tuple[str, float]], average: float, limit: float) -> list[dict[str, Any]]:
    clear = limit + 2 * _ROUNDING * (limit + abs(average))  # beyond it rounding does not matter, and checking it is slow
    return [
        {"timestamp": timestamp, "value": value, "deviation": deviation if deviation < math.inf else None}
        for timestamp, value in data
        if not (deviation := abs(value - average)) <= limit  # true for NaN
        and (deviation > clear or not deviation - limit <= _ROUNDING * max(abs(value), abs(average)) or math.isinf(value))
    ]
