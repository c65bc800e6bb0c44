from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from broker.runtime import clock
from broker.runtime.clock import PlantClock, new_boot


class FakeTime:
    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.epoch_ns = 1_800_000_000_000_000_000

    def time_ns(self) -> int:
        return self.epoch_ns

    def monotonic(self) -> float:
        return self.monotonic_s


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock, "time", fake)
    return fake


def test_plant_time_runs_scale_times_as_fast(time: FakeTime) -> None:
    plant = PlantClock(scale=60)
    began_at = plant.at()
    time.monotonic_s += 2
    assert plant.now_s() == 120
    assert plant.at() - began_at == timedelta(seconds=120)
    assert plant.wall_s(60) == 1


@pytest.mark.parametrize("scale", [1, 60])
def test_an_instant_converts_now_s(time: FakeTime, scale: float) -> None:
    plant = PlantClock(scale)
    time.monotonic_s += 2
    assert abs(plant.instant(10.0) - plant.instant(0.0) - timedelta(seconds=10)) < timedelta(seconds=1)
    assert abs(plant.instant(plant.now_s()) - plant.at()) < timedelta(seconds=5)


def test_at_scale_one_an_instant_follows_the_wall_clock(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PlantClock()
    time.monotonic_s += 2

    class SetBack(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SetBack":
            return cls(2001, 1, 1, tzinfo=tz)

    monkeypatch.setattr(clock, "datetime", SetBack)
    assert plant.instant(plant.now_s()) == datetime(2001, 1, 1, tzinfo=UTC)


def test_clocks_with_the_same_epoch_agree(time: FakeTime) -> None:
    epoch = datetime.now(UTC) - timedelta(hours=1)
    one, other = PlantClock(60, epoch), PlantClock(60, epoch)
    assert abs((one.at() - other.at()).total_seconds()) < 5
    assert one.at() - epoch == pytest.approx(timedelta(hours=60), abs=timedelta(minutes=2))


def test_at_scale_one_plant_time_is_wall_time() -> None:
    plant = PlantClock(1, datetime(2020, 1, 1, tzinfo=UTC))
    assert abs((plant.at() - datetime.now(UTC)).total_seconds()) < 5


def test_boots_sort_by_start_time(time: FakeTime) -> None:
    boots = []
    for _ in range(20):
        boots.append(new_boot())
        time.epoch_ns += 1_000_000
    assert boots == sorted(boots)
    assert all(len(boot) >= 16 and int(boot[:12], 16) * 1_000_000 < time.epoch_ns for boot in boots)


def test_two_starts_in_one_millisecond_differ(time: FakeTime) -> None:
    assert len({new_boot() for _ in range(100)}) == 100
