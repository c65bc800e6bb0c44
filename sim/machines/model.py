"""One machine under load: its phases, its temperature and the speed of its fan.

The load heats the machine, which cools towards its surroundings as a first-order lag; the fan follows the temperature, lags
too, and makes the machine cool better. In a fault the fan hardly turns and the machine gets hot until it is switched off. The
model keeps its own plant time and reads no clock.
"""

import math
import random
from dataclasses import dataclass
from enum import Enum

from broker.contract.machines.topics import Status

_LONGEST_STEP_S = 10.0


class Phase(Enum):
    """A phase of a machine's work."""

    IDLE = "idle"
    WARM_UP = "warm-up"
    WORK = "work"
    DONE = "done"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Conduct:
    """Properties of a phase: job status, load as a share of the full load, shortest and longest duration in s."""

    status: Status
    load: float
    shortest_s: float
    longest_s: float


CONDUCT = {
    Phase.IDLE: Conduct(Status.IDLE, 0.05, 300.0, 900.0),
    Phase.WARM_UP: Conduct(Status.STARTED, 0.5, 180.0, 420.0),
    Phase.WORK: Conduct(Status.STARTED, 1.0, 1200.0, 3600.0),
    Phase.DONE: Conduct(Status.COMPLETED, 0.1, 120.0, 300.0),
    Phase.FAULT: Conduct(Status.ERROR, 0.9, 120.0, 360.0),
}
_NEXT = {Phase.IDLE: Phase.WARM_UP, Phase.WARM_UP: Phase.WORK, Phase.DONE: Phase.IDLE, Phase.FAULT: Phase.IDLE}
FAULT_SHARE = 0.15
"""Share of jobs that end in a fault."""
FAULTY_FAN = 0.3
"""Share of its speed that the fan still has in a fault."""


@dataclass(frozen=True, slots=True)
class MachineParameters:
    """Parameters of one machine. Temperatures in °C, speeds in revolutions per minute."""

    ambient_c: float = 19.0
    rise_c: float = 75.0
    """Temperature above the surroundings at full load with the fan at rest, K."""
    lag_s: float = 240.0
    """Time constant of the temperature with the fan at rest, s."""
    cooling: float = 1.2
    """Additional cooling with the fan at its highest speed, as a share of the cooling without it."""
    slowest_rpm: float = 600.0
    fastest_rpm: float = 2400.0
    gain_rpm_k: float = 32.0
    """Fan speed for each kelvin above 24 °C."""
    fan_lag_s: float = 25.0
    temperature_noise_c: float = 0.08
    fan_noise_rpm: float = 5.0


def random_machine(seed: int) -> MachineParameters:
    """Draw a machine.

    Args:
        seed: any integer; the same seed gives the same machine.
    """
    rng = random.Random(f"machine {seed}")
    return MachineParameters(
        ambient_c=rng.uniform(16.0, 24.0),
        rise_c=rng.uniform(45.0, 95.0),
        lag_s=rng.uniform(120.0, 480.0),
        cooling=rng.uniform(0.6, 1.8),
        slowest_rpm=rng.uniform(450.0, 750.0),
        fastest_rpm=rng.uniform(1800.0, 3200.0),
        gain_rpm_k=rng.uniform(20.0, 45.0),
        fan_lag_s=rng.uniform(10.0, 40.0),
    )


class Machine:
    """The state of one machine. It starts idle, at the temperature of its surroundings.

    Attributes:
        phase: its current phase.
        temperature_c: true temperature, °C.
        fan_rpm: true fan speed, revolutions per minute.
    """

    __slots__ = ("_left_s", "_load", "_rng", "fan_rpm", "parameters", "phase", "temperature_c")

    def __init__(self, parameters: MachineParameters, seed: int = 0) -> None:
        """Place the machine somewhere in its first idle phase; durations and noise are drawn from `seed`."""
        self.parameters = parameters
        self._rng = random.Random(f"work {seed}")
        self.phase = Phase.IDLE
        self._left_s = self._rng.uniform(0.0, CONDUCT[Phase.IDLE].shortest_s)
        self._load = CONDUCT[Phase.IDLE].load
        self.temperature_c = parameters.ambient_c
        self.fan_rpm = parameters.slowest_rpm

    @property
    def status(self) -> Status:
        """The job status that belongs to the phase."""
        return CONDUCT[self.phase].status

    def step(self, dt_s: float) -> None:
        """Advance the machine.

        Args:
            dt_s: plant seconds to advance, zero or more; taken in pieces of at most 10 s.
        """
        pieces = max(1, math.ceil(dt_s / _LONGEST_STEP_S))
        for _ in range(pieces):
            self._step(dt_s / pieces)

    def measured(self) -> tuple[float, float]:
        """Read the sensors: temperature in °C and fan speed in revolutions per minute, with noise, to two decimals."""
        gauss, machine = self._rng.gauss, self.parameters
        temperature_c = self.temperature_c + gauss(0.0, machine.temperature_noise_c)
        fan_rpm = max(0.0, self.fan_rpm + gauss(0.0, machine.fan_noise_rpm))
        return round(temperature_c, 2), round(fan_rpm, 2)

    def _step(self, dt_s: float) -> None:
        self._left_s -= dt_s
        if self._left_s <= 0:
            self._begin(self._following())
        machine = self.parameters
        target_load = CONDUCT[self.phase].load
        wander = self._rng.gauss(0.0, 0.03) * math.sqrt(dt_s / 10.0) * target_load
        self._load = min(1.1, max(0.0, self._load + wander + (target_load - self._load) * -math.expm1(-dt_s / 60.0)))
        cooled = 1.0 + machine.cooling * self.fan_rpm / machine.fastest_rpm
        settled_c = machine.ambient_c + machine.rise_c * self._load / cooled
        self.temperature_c += (settled_c - self.temperature_c) * -math.expm1(-dt_s * cooled / machine.lag_s)
        self.fan_rpm += (self._wanted_rpm() - self.fan_rpm) * -math.expm1(-dt_s / machine.fan_lag_s)

    def _wanted_rpm(self) -> float:
        machine = self.parameters
        wanted_rpm = machine.slowest_rpm + machine.gain_rpm_k * max(0.0, self.temperature_c - 24.0)
        share = FAULTY_FAN if self.phase is Phase.FAULT else 1.0
        return share * min(machine.fastest_rpm, wanted_rpm)

    def _following(self) -> Phase:
        if self.phase is Phase.WORK:
            return Phase.FAULT if self._rng.random() < FAULT_SHARE else Phase.DONE
        return _NEXT[self.phase]

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self._left_s = self._rng.uniform(CONDUCT[phase].shortest_s, CONDUCT[phase].longest_s)
