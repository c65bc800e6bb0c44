"""Registers against a slow reading of the rules, in exact arithmetic."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.energy.topics import ESTIMATED, MEASURED, PARTIAL, Falls
from controllers.energy.quarters import QUARTER_US, Quarters, Readings, together
from controllers.energy.registers import Register
from controllers.energy.series import Changes, Series, rows_of

START_US = int(datetime(2026, 8, 24, tzinfo=UTC).timestamp()) * 1_000_000
MINUTE_US = 60_000_000
Values = list[tuple[float, float]]
"""Minutes and kWh."""

falls_of = st.sampled_from(["ignore", "reset", "swap"])
steps = st.lists(
    st.tuples(st.integers(1, 4_000), st.one_of(st.integers(0, 60_000), st.sampled_from([-1, -2]))), min_size=1, max_size=25
)
"""Seconds to the next reading, and the Wh used since the last one; -1: it reads 0, -2: it begins again at 0 for good."""


@dataclass
class Quarter:
    kwh: Fraction = Fraction(0)
    covered_us: int = 0
    doubtful: bool = False


def values_of(drawn: list[tuple[int, int]]) -> Values:
    seconds, wh, values = 0, 5_000_000, []
    for step, used in drawn:
        seconds += step
        wh = 0 if used == -2 else wh + max(used, 0)
        values.append((seconds / 60, 0.0 if used == -1 else wh / 1000))
    return values


def taken(values: Values, falls: Falls = "ignore") -> Register:
    register = Register()
    for minute, kwh in values:
        register.take(START_US + round(minute * MINUTE_US), kwh, falls)
    return register


def posted(values: Values) -> Readings:
    times = np.array([START_US + round(minute * MINUTE_US) for minute, _ in values], np.int64)
    n = len(values)
    return Readings(times, np.array([kwh for _, kwh in values], float), np.zeros(n, bool), np.zeros(n, np.int64))


def by_the_rules(values: Values, falls: Falls) -> dict[int, Quarter]:
    """Judge every reading with the next one, and cut every stretch at the quarters; in whole µs and exact kWh."""
    quarters: dict[int, Quarter] = {}
    ordered = sorted({START_US + round(minute * MINUTE_US): kwh for minute, kwh in values}.items())
    last = ordered[0]
    for n, (time_us, kwh) in enumerate(ordered[1:], start=1):
        used: Fraction | None = Fraction(kwh) - Fraction(last[1])
        fell = kwh < last[1]
        if fell:
            if falls == "ignore" or n + 1 == len(ordered) or ordered[n + 1][1] >= last[1]:
                continue
            used = Fraction(kwh) if falls == "reset" else None
        duration = time_us - last[0]
        for quarter in range(last[0] // QUARTER_US, (time_us - 1) // QUARTER_US + 1):
            each = quarters.setdefault(quarter * QUARTER_US, Quarter())
            overlap = min(time_us, (quarter + 1) * QUARTER_US) - max(last[0], quarter * QUARTER_US)
            each.doubtful |= fell or duration > QUARTER_US
            if used is not None:
                each.kwh += used * overlap / duration
                each.covered_us += overlap
        last = time_us, kwh
    return {start: each for start, each in quarters.items() if each.covered_us}


def rows(quarters: Quarters) -> dict[int, tuple[float, float, str]]:
    quarters = together(quarters)
    published = [(each.value or 0.0, each.coverage, each.quality) for each in rows_of(Changes(quarters, ()))]
    return dict(zip(quarters.start_us.tolist(), published, strict=True))


@settings(max_examples=120, deadline=None)
@given(steps, falls_of)
def test_quarters_follow_the_rules(drawn: list[tuple[int, int]], falls: Falls) -> None:
    values = values_of(drawn)
    expected, found = by_the_rules(values, falls), rows(taken(values, falls).quarters())
    assert found.keys() == expected.keys()
    for start, (kwh, coverage, quality) in found.items():
        assert kwh == pytest.approx(float(expected[start].kwh), abs=1e-6)
        assert coverage == pytest.approx(expected[start].covered_us / QUARTER_US, abs=1e-6)
        assert (quality == MEASURED) == (expected[start].covered_us >= 0.99 * QUARTER_US and not expected[start].doubtful)


@settings(max_examples=80, deadline=None)
@given(steps, falls_of, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(drawn: list[tuple[int, int]], falls: Falls, order: random.Random) -> None:
    values = values_of(drawn)
    shuffled = values + order.sample(values, len(values) // 2)
    order.shuffle(shuffled)
    series, rest = Series(), shuffled
    while rest:
        size = order.randint(1, 4)
        span = series.add_register("meter", posted(rest[:size]), falls)
        rest = rest[size:]
        if span is not None:
            series.refresh(span)
    assert rows_of(series.refresh()) == ()  # what changed step by step is what all of it gives
    assert rows(series.quarters) == rows(taken(values, falls).quarters())


@settings(max_examples=80, deadline=None)
@given(steps, falls_of, st.data())
def test_a_replaced_value_counts_as_if_first(drawn: list[tuple[int, int]], falls: Falls, data: st.DataObject) -> None:
    values = values_of(drawn)
    wrong = [(minute, data.draw(st.sampled_from([0.0, kwh, 5_500.0]))) for minute, kwh in values]
    series = Series()
    series.add_register("meter", posted(wrong), falls)
    series.refresh()
    for value in data.draw(st.permutations(values)):
        span = series.add_register("meter", posted([value]), falls)
        if span is not None:
            series.refresh(span)
    assert rows(series.quarters) == rows(taken(values, falls).quarters())


@given(st.lists(st.tuples(st.integers(1, 4_000), st.integers(0, 60_000)), min_size=2, max_size=25), falls_of, st.data())
def test_a_false_zero_costs_nothing(drawn: list[tuple[int, int]], falls: Falls, data: st.DataObject) -> None:
    values = values_of(drawn)
    before = data.draw(st.integers(1, len(values) - 1))
    zero = ((values[before - 1][0] + values[before][0]) / 2, 0.0)
    quarters = taken([*values[:before], zero, *values[before:]], falls).quarters()
    assert rows(quarters) == rows(taken(values, falls).quarters())
    assert float(quarters.kwh.sum()) == pytest.approx(values[-1][1] - values[0][1], abs=1e-6)


def test_a_register_of_years_conserves_its_energy() -> None:
    order = random.Random(7)
    minute, kwh, values = 0.0, 1_234_567.891, []
    for _ in range(20_000):
        minute, kwh = minute + order.choice([1 / 6, 1, 1, 5, 60]), kwh + order.random() / 3
        values.append((minute, kwh))
    assert float(taken(values).quarters().kwh.sum()) == pytest.approx(values[-1][1] - values[0][1], abs=1e-6)


@pytest.mark.parametrize(
    ("falls", "values", "kwh"),
    [
        ("ignore", [(0, 10), (15, 12), (30, 0), (45, 13)], {0: 2, 15: 0.5, 30: 0.5}),
        ("reset", [(0, 10), (15, 12), (30, 0), (45, 13)], {0: 2, 15: 0.5, 30: 0.5}),
        ("reset", [(0, 10), (15, 12), (30, 1), (45, 3)], {0: 2, 15: 1, 30: 2}),
        ("swap", [(0, 10), (15, 12), (30, 1), (45, 3)], {0: 2, 30: 2}),
        ("ignore", [(0, 10), (15, 12), (30, 1), (45, 3), (60, 15)], {0: 2, 15: 1, 30: 1, 45: 1}),
        ("reset", [(0, 10), (15, 12), (30, 1)], {0: 2}),
    ],
)
def test_falls(falls: Falls, values: Values, kwh: dict[int, float]) -> None:
    quarters = together(taken(values, falls).quarters())
    starts = ((quarters.start_us - START_US) // MINUTE_US).tolist()
    assert dict(zip(starts, quarters.kwh.tolist(), strict=True)) == pytest.approx(kwh, abs=1e-6)


@pytest.mark.parametrize(
    ("falls", "values", "quality"),
    [
        ("ignore", [(0, 1), (15, 2), (30, 3)], [MEASURED, MEASURED]),
        ("ignore", [(0, 1), (16, 2), (30, 3)], [ESTIMATED, ESTIMATED]),
        ("ignore", [(0, 1), (15, 2), (46, 3)], [MEASURED, ESTIMATED, ESTIMATED, PARTIAL]),
        ("reset", [(0, 1), (10, 2), (11, 0.5), (15, 1), (30, 2)], [ESTIMATED, MEASURED]),
        ("swap", [(0, 1), (10, 2), (10.01, 0.5), (15, 1), (30, 2)], [ESTIMATED, MEASURED]),
    ],
)
def test_quality(falls: Falls, values: Values, quality: list[str]) -> None:
    assert [each for *_, each in rows(taken(values, falls).quarters()).values()] == quality


def test_registers_of_one_ship_add_up() -> None:
    series = Series()
    series.add_register("roof", posted([(0, 5), (15, 6), (30, 8)]), "ignore")
    series.add_register("cellar", posted([(15, 100), (20, 110)]), "ignore")
    series.add(posted([(30, 1), (45, 1)]))
    changes = series.refresh()
    assert changes.quarters.kwh.tolist() == [1, 12, 1, 1]
    assert changes.quarters.coverage.tolist() == pytest.approx([1, 1 / 3, 1, 1])


def test_a_swap_shows_in_the_quarters_of_other_registers() -> None:
    series = Series()
    series.add_register("roof", posted([(15 * n, n) for n in range(5)]), "ignore")
    series.add_register("cellar", posted([(0, 100), (15, 101), (45, 7), (60, 8)]), "swap")
    changes = series.refresh()
    assert changes.quarters.kwh.tolist() == [2, 1, 1, 2]
    assert [each.quality for each in rows_of(changes)] == [MEASURED, PARTIAL, PARTIAL, MEASURED]


def test_more_than_five_years_between_readings_count_as_nothing() -> None:
    minutes = 6 * 366 * 1440
    quarters = together(taken([(0, 1), (15, 2), (minutes, 9), (minutes + 15, 10)]).quarters())
    assert quarters.kwh.tolist() == [1, 1]


def test_readings_of_one_time_replace_each_other() -> None:
    register = taken([(0, 1), (15, 2), (30, 4)])
    assert register.take(START_US + 15 * MINUTE_US, 2.0) is None
    assert register.take(START_US + 15 * MINUTE_US, 3.0) is not None
    assert register.quarters().kwh.tolist() == [2, 1]
    assert register.take(START_US, float("nan")) is None


def test_ignored_readings_leave_the_quarters_alone() -> None:
    register = taken([(0, 10), (15, 12), *((30 + n, 1.0) for n in range(100))])
    assert register.take(START_US + 200 * MINUTE_US, 2.0) is None
