import pytest

from controllers.heating.fusion import Fused
from controllers.heating.model import Knowledge
from controllers.heating.modes import KnowledgeHistory, NoRiseDetector, WindowDetector, highest_pct, is_unresponsive, safe_pct

RATE_C_S = 10 / 3600


def fused(room_c: float = 20.0, unmoved_s: float = 0.0, proven: bool = True) -> Fused:
    return Fused(room_c=room_c, used=("a",), left_out={}, unmoved_s=unmoved_s, proven=proven)


def watching(fall_c_per_minute: float, minutes: int, unexplained_c: float, quiet_minutes: int = 70) -> WindowDetector:
    """Watch a quiet room, then a falling one."""
    watch = WindowDetector()
    for minute in range(quiet_minutes):
        watch.update(22.0, 0.0, RATE_C_S, minute * 60.0)
    for minute in range(1, minutes + 1):
        watch.update(22.0 - minute * fall_c_per_minute, unexplained_c, RATE_C_S, (quiet_minutes + minute) * 60.0)
    return watch


@pytest.mark.parametrize(
    ("fall_c", "unexplained_c", "opened"),
    [(0.3, -0.3, True), (0.25, -0.25, True), (0.24, -0.24, False), (0.3, -0.1, False), (0.05, -0.3, False), (-0.3, 0.3, False)],
)
def test_a_fast_unexplained_fall_is_a_window(fall_c: float, unexplained_c: float, opened: bool) -> None:
    assert (watching(fall_c, 4, unexplained_c).opened_s is not None) is opened


def test_a_new_room_may_cool() -> None:
    assert watching(0.5, 4, -0.5, quiet_minutes=10).opened_s is None


def test_a_quick_room_may_fall_deeper() -> None:
    watch = WindowDetector()
    for minute in range(80):
        is_open = watch.update(22.0 - max(0, minute - 70) * 0.3, -0.3, 100 / 3600, minute * 60.0)
    assert not is_open


def test_the_window_is_closed_when_the_fall_ends() -> None:
    watch = watching(0.3, 4, -0.3)
    answers = [watch.update(20.5, 0.0, RATE_C_S, (75 + minute) * 60.0) for minute in range(8)]
    assert answers == [True] * 2 + [False] * 6


def test_a_room_is_disturbed_for_25_minutes_after_the_window() -> None:
    watch = watching(0.3, 4, -0.3)
    assert watch.disturbs(75 * 60.0)
    minute = next(minute for minute in range(75, 90) if not watch.update(20.5, 0.0, RATE_C_S, minute * 60.0))
    assert watch.disturbs((minute + 25) * 60.0 - 1)
    assert not watch.disturbs((minute + 25) * 60.0)


def test_a_window_ends_after_twenty_minutes_at_most() -> None:
    watch = watching(0.3, 4, -0.3)
    open_minutes = sum(watch.update(20 - minute * 0.3, 0.0, RATE_C_S, (75 + minute) * 60.0) for minute in range(60))
    assert open_minutes <= 20


@pytest.mark.parametrize(
    ("hours", "room_c", "alarm"), [(1.99, 18.0, False), (2.0, 18.0, True), (2.0, 18.29, True), (2.0, 18.31, False)]
)
def test_full_heat_without_a_rise(hours: float, room_c: float, alarm: bool) -> None:
    watch = NoRiseDetector()
    watch.update(100, 18.0, 0.0)
    assert watch.update(100, room_c, hours * 3600) is alarm


@pytest.mark.parametrize(("level", "alarm"), [(94, False), (95, True)])
def test_no_rise_counts_only_at_full_heat(level: int, alarm: bool) -> None:
    watch = NoRiseDetector()
    watch.update(level, 18.0, 0.0)
    assert watch.update(level, 18.0, 7200.0) is alarm


@pytest.mark.parametrize(
    ("unmoved_s", "proven", "room_c", "moving_pct", "limit_pct"),
    [
        (0.0, True, 15.0, 0, 100),
        (0.0, False, 15.0, 0, 40),
        (1199.0, True, 15.0, 0, 100),
        (1200.0, True, 15.0, 90, 60),
        (1200.0, True, 21.75, 0, 60),
        (1200.0, False, 21.75, 0, 60),
        (1200.0, True, 21.75, 90, 90),
        (1199.0, True, 21.75, 0, 100),
        (1200.0, True, 21.69, 0, 60),
    ],
)
def test_sensors_that_may_be_stuck_limit_the_level(
    unmoved_s: float, proven: bool, room_c: float, moving_pct: float, limit_pct: float
) -> None:
    assert highest_pct(fused(room_c, unmoved_s, proven), 22.0, moving_pct) == limit_pct


@pytest.mark.parametrize(
    ("unmoved_s", "heated_s", "proven", "room_c", "expected"),
    [
        (7200.0, 7200.0, True, 20.0, True),
        (7199.0, 7200.0, True, 20.0, False),
        (7200.0, 7199.0, True, 20.0, False),
        (2700.0, 2700.0, False, 20.0, True),
        (2699.0, 2700.0, False, 20.0, False),
        (9999.0, 9999.0, True, 21.8, False),
    ],
)
def test_unresponsive_sensors(unmoved_s: float, heated_s: float, proven: bool, room_c: float, expected: bool) -> None:
    assert is_unresponsive(fused(room_c, unmoved_s, proven), 22.0, heated_s) is expected


@pytest.mark.parametrize(("hold_pct", "level_pct"), [(-20, 10), (10, 10), (22, 22), (30, 30), (80, 30)])
def test_the_safe_level_is_small(hold_pct: float, level_pct: float) -> None:
    assert safe_pct(hold_pct) == level_pct


def test_knowledge_is_kept_for_ten_to_twenty_minutes() -> None:
    keeper = KnowledgeHistory()
    for minute in range(31):
        keeper.keep(Knowledge((float(minute), 0.0, 0.0), ()), minute * 60.0)
    assert keeper.before() == Knowledge((20.0, 0.0, 0.0), ())
