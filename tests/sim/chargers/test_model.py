import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.chargers.model import SEND_INTERVAL_S, TAPER_PCT, Battery, Booth, Stay

USUAL = Battery(0.0, 1800.0)
BATTERIES = st.builds(Battery, st.floats(0, 100), st.floats(60, 1e5))
SEEDS = st.text(max_size=5)


def sent(booth: Booth, until_s: float) -> list[tuple[float, int]]:
    """Step from one happening to the next; return when what was sent."""
    now_s, found = 0.0, []
    while now_s < until_s:
        dt_s = booth.next_s
        now_s += dt_s
        if (soc := booth.step(dt_s)) is not None:
            found.append((now_s, soc))
    return found


def stays(booth: Booth, until_s: float) -> list[list[tuple[float, int]]]:
    """Return what was sent, one list for each battery: batteries are at least five minutes apart."""
    found: list[list[tuple[float, int]]] = [[]]
    for at_s, soc in sent(booth, until_s):
        if found[-1] and at_s - found[-1][-1][0] > 2 * SEND_INTERVAL_S:
            found.append([])
        found[-1].append((at_s, soc))
    return found


@pytest.mark.parametrize(
    ("charged_s", "soc_pct"),
    [
        (0, 0.0),
        (900, 40.0),
        (1799.9, pytest.approx(80, abs=0.01)),
        (1800, 80.0),
        (3600, pytest.approx(100, abs=0.02)),
        (1e9, 100),
    ],
)
def test_thirty_minutes_to_80_and_thirty_more_to_100(charged_s: float, soc_pct: float) -> None:
    assert USUAL.soc_pct(charged_s) == soc_pct


def test_soc_is_exactly_100_at_full_after() -> None:
    assert USUAL.full_after_s == pytest.approx(3600, abs=30)
    assert USUAL.soc_pct(USUAL.full_after_s) == 100.0
    assert 99.9 < USUAL.soc_pct(USUAL.full_after_s - 1) < 100


def test_the_current_does_not_jump_at_80() -> None:
    before, after = (USUAL.soc_pct(t + 1) - USUAL.soc_pct(t) for t in (1798, 1801))
    assert after == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize("arrived_pct", [80.0, 95.0, 100.0])
def test_a_battery_that_arrives_nearly_full(arrived_pct: float) -> None:
    battery = Battery(arrived_pct, 1800.0)
    assert battery.taper_after_s == 0
    assert battery.soc_pct(0.0) == arrived_pct
    assert battery.soc_pct(battery.full_after_s) == 100


@given(BATTERIES, st.lists(st.floats(0, 1e5), min_size=2))
def test_soc_never_falls_and_never_exceeds_100(battery: Battery, times_s: list[float]) -> None:
    socs = [battery.soc_pct(each) for each in sorted(times_s)]
    assert all(one <= other + 1e-9 for one, other in itertools.pairwise(socs))
    assert all(battery.arrived_pct <= each <= 100 for each in socs)


@given(BATTERIES, st.floats(0, 1), st.floats(0, 1), st.floats(1, 60))
def test_charging_is_slower_above_80(battery: Battery, below: float, above: float, dt_s: float) -> None:
    low_s = below * max(0.0, battery.taper_after_s - dt_s)
    high_s = battery.taper_after_s + above * (battery.full_after_s - battery.taper_after_s)
    slow_pct = battery.soc_pct(high_s + dt_s) - battery.soc_pct(high_s)
    assert slow_pct <= dt_s * TAPER_PCT / battery.constant_current_s + 1e-9
    if low_s + dt_s <= battery.taper_after_s:
        assert slow_pct <= battery.soc_pct(low_s + dt_s) - battery.soc_pct(low_s) + 1e-9


@given(SEEDS)
def test_customers_bring_low_batteries_and_stay(seed: str) -> None:
    for stay in stays(Booth(seed), 30_000)[:-1]:
        socs = [soc for _, soc in stay]
        assert 5 <= socs[0] <= 60
        assert socs == sorted(socs)
        assert socs[-1] <= 100


@given(SEEDS)
def test_it_sends_at_once_every_two_minutes_and_when_full(seed: str) -> None:
    for stay in stays(Booth(seed), 30_000):
        for (one_s, one), (other_s, other) in itertools.pairwise(stay):
            gap_s = other_s - one_s
            if one < 100 == other:
                assert gap_s < SEND_INTERVAL_S - 1e-6
            else:
                assert gap_s == pytest.approx(SEND_INTERVAL_S)


@given(SEEDS)
def test_the_booth_is_empty_for_five_to_thirty_minutes(seed: str) -> None:
    booth, now_s, empty_since_s = Booth(seed), 0.0, None
    while now_s < 30_000:
        dt_s = booth.next_s
        now_s += dt_s
        was, soc = booth.soc, booth.step(dt_s)
        if was is not None and booth.soc is None:
            assert soc is None
            empty_since_s = now_s
        elif was is None and empty_since_s is not None:
            assert 300 <= now_s - empty_since_s + 1e-6 <= 1801


def test_most_customers_wait_until_the_battery_is_full() -> None:
    ends = [stay[-1][1] for n in range(60) for stay in stays(Booth(f"{n}"), 40_000)[:-1]]
    early = sum(each < 100 for each in ends) / len(ends)
    assert 0.1 < early < 0.3


def test_the_first_battery_comes_within_two_minutes() -> None:
    assert all(0 <= Booth(f"{n}").next_s <= SEND_INTERVAL_S for n in range(100))
    assert all(Booth(f"{n}").soc is None for n in range(10))


@given(SEEDS)
def test_the_same_seed_is_the_same_booth(seed: str) -> None:
    assert sent(Booth(seed), 20_000) == sent(Booth(seed), 20_000)


def test_other_booths_differ() -> None:
    stories = {tuple(sent(Booth(f"1/sim-c{n}"), 10_000)) for n in range(50)}
    assert len(stories) == 50


@given(SEEDS, st.lists(st.floats(0, 500), max_size=50))
def test_step_size_does_not_change_the_result(seed: str, steps_s: list[float]) -> None:
    one, other = Booth(seed), Booth(seed)
    for each in steps_s:
        one.step(each)
    other.step(sum(steps_s))
    if one.soc is not None and other.soc is not None:
        assert abs(one.soc - other.soc) <= 1
    assert one.next_s == pytest.approx(other.next_s, abs=1e-6) or min(one.next_s, other.next_s) < 1e-6


def test_a_step_that_skips_several_sends_the_last_one() -> None:
    booth = Booth("x")
    booth.step(booth.next_s)
    first = booth.soc
    assert first is not None
    last = booth.step(3 * SEND_INTERVAL_S)
    assert last is not None
    assert last == booth.soc
    assert last > first


def test_an_early_customer_leaves_before_it_is_full() -> None:
    drawn = [Stay.drawn(random.Random(n)) for n in range(300)]
    early = [each for each in drawn if each.stays_s < each.battery.full_after_s]
    assert early
    assert all(each.stays_s >= each.battery.full_after_s + 60 for each in drawn if each not in early)
