import statistics

import pytest

from sim.rooms.sensors import SENSORS_PER_ROOM, Fault, Sensor, SensorParameters, random_sensors


def read(sensor: Sensor, count: int, room_c: float = 22.0, dt_s: float = 60.0) -> list[float | None]:
    values = []
    for _ in range(count):
        sensor.step(dt_s)
        values.append(sensor.read(room_c))
    return values


def faulty(fault: Fault, **more: float) -> Sensor:
    return Sensor(SensorParameters("s", fault=fault, fault_start_s=600.0, **more))


def test_offset_noise_and_resolution() -> None:
    values = [each for each in read(Sensor(SensorParameters("s", 0.3, 0.1, 0.1)), 2000) if each is not None]
    assert statistics.fmean(values) == pytest.approx(22.3, abs=0.02)
    assert statistics.stdev(values) == pytest.approx(0.1, abs=0.02)
    assert all(each == round(each, 1) for each in values)


def test_silent_from_its_start() -> None:
    values = read(faulty(Fault.SILENT), 20)
    assert [each is None for each in values] == [False] * 9 + [True] * 11


def test_stuck_repeats_its_last_value() -> None:
    values = read(faulty(Fault.STUCK), 20)
    assert len(set(values[:9])) > 3
    assert set(values[9:]) == {values[8]}


def test_drift_grows_with_time() -> None:
    values = read(faulty(Fault.DRIFT, fault_rate_c_h=1.0, noise_c=0.0), 70)
    assert values[8] == 22.0
    assert values[-1] == pytest.approx(23.0)


def test_spikes_are_rare_and_large() -> None:
    values = [each for each in read(faulty(Fault.SPIKE), 2000)[10:] if each is not None]
    spikes = [each for each in values if abs(each - 22) > 2]
    assert 0.02 < len(spikes) / len(values) < 0.1


def test_five_sensors_with_the_faults_first() -> None:
    sensors = random_sensors(3, (Fault.STUCK, Fault.DRIFT))
    assert [each.name for each in sensors] == [f"sensor-{n}" for n in range(1, SENSORS_PER_ROOM + 1)]
    assert [each.fault for each in sensors] == [Fault.STUCK, Fault.DRIFT, *[Fault.NONE] * 3]


def test_the_same_seed_gives_the_same_readings() -> None:
    assert random_sensors(3) == random_sensors(3) != random_sensors(4)
    parameters = SensorParameters("s")
    assert read(Sensor(parameters, 1), 9) == read(Sensor(parameters, 1), 9) != read(Sensor(parameters, 2), 9)
