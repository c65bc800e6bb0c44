"""Five temperature sensors of a room, each with its own offset and noise, and optionally a fault."""

import enum
import math
import random
from dataclasses import dataclass

SENSORS_PER_ROOM = 5


class Fault(enum.StrEnum):
    """A fault of a sensor."""

    NONE = "none"
    SILENT = "silent"
    """Reports nothing."""
    STUCK = "stuck"
    """Repeats the last value."""
    SPIKE = "spike"
    """One reading in twenty is wrong by several kelvin."""
    DRIFT = "drift"
    """Drifts by up to 1 K an hour."""


@dataclass(frozen=True, slots=True)
class SensorParameters:
    """Parameters of one sensor."""

    name: str
    offset_c: float = 0.0
    """Constant error, K."""
    noise_c: float = 0.05
    """Standard deviation of the noise, K."""
    resolution_c: float = 0.01
    """Step of the reported value, K."""
    fault: Fault = Fault.NONE
    fault_start_s: float = 0.0
    """Age of the sensor at which the fault begins, plant seconds."""
    fault_rate_c_h: float = 0.0
    """Speed of a drift, K/h."""


def random_sensors(seed: int, faults: tuple[Fault, ...] = ()) -> tuple[SensorParameters, ...]:
    """Draw the five sensors of a room.

    Args:
        seed: any integer; the same seed gives the same sensors.
        faults: at most five; given to the first sensors, to start between one and ten hours after the start.
    """
    rng = random.Random(f"sensors {seed}")
    padded = (*faults, *(Fault.NONE,) * SENSORS_PER_ROOM)
    return tuple(_random_sensor(rng, number, padded[number - 1]) for number in range(1, SENSORS_PER_ROOM + 1))


def _random_sensor(rng: random.Random, number: int, fault: Fault) -> SensorParameters:
    return SensorParameters(
        name=f"sensor-{number}",
        offset_c=max(-0.5, min(0.5, rng.gauss(0.0, 0.2))),
        noise_c=rng.uniform(0.02, 0.10),
        resolution_c=rng.choice((0.01, 0.01, 0.1)),
        fault=fault,
        fault_start_s=rng.uniform(1.0, 10.0) * 3600,
        fault_rate_c_h=rng.choice((-1.0, 1.0)) * rng.uniform(0.2, 1.0),
    )


class Sensor:
    """The state of one sensor."""

    __slots__ = ("_age_s", "_last_c", "_rng", "parameters")

    def __init__(self, parameters: SensorParameters, seed: int = 0) -> None:
        """Create a sensor whose noise depends on `seed` and its name."""
        self.parameters = parameters
        self._rng = random.Random(f"{parameters.name} {seed}")
        self._age_s = 0.0
        self._last_c: float | None = None

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s` plant seconds; faults start at an age."""
        self._age_s += dt_s

    def read(self, room_c: float) -> float | None:
        """Read the sensor.

        Args:
            room_c: true room temperature, °C.

        Returns:
            What the sensor reports, °C, or None while it is silent.
        """
        fault = self._fault()
        if fault is Fault.SILENT:
            return None
        if fault is Fault.STUCK and self._last_c is not None:
            return self._last_c
        sensor = self.parameters
        measured_c = room_c + sensor.offset_c + self._rng.gauss(0.0, sensor.noise_c) + self._fault_error_c(fault)
        digits = max(0, math.ceil(-math.log10(sensor.resolution_c)))
        self._last_c = round(round(measured_c / sensor.resolution_c) * sensor.resolution_c, digits)
        return self._last_c

    def _fault(self) -> Fault:
        return self.parameters.fault if self._age_s >= self.parameters.fault_start_s else Fault.NONE

    def _fault_error_c(self, fault: Fault) -> float:
        if fault is Fault.DRIFT:
            return self.parameters.fault_rate_c_h * (self._age_s - self.parameters.fault_start_s) / 3600
        if fault is Fault.SPIKE and self._rng.random() < 0.05:
            return self._rng.choice((-1.0, 1.0)) * self._rng.uniform(3.0, 15.0)
        return 0.0
