"""Simulated machines on the bus: job statuses in, readings out."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from broker.contract.machines.topics import READING, STATUS, MachineReading, Status
from broker.errors import Rejected
from broker.message import Message, Publication
from sim.history import MOST_DEVICES
from sim.machines.model import Machine, MachineParameters, random_machine

READING_INTERVAL_S = 10.0
DAY_S = 24 * 3600.0
PAST_READINGS = 720
"""Of each machine in its past, whatever its length: one a minute in the last hours, the others spread over the days before."""
RECENT_S = 4 * 3600.0
NAMES = ("DELL G450", "HP Z8", "Siemens S7", "Fanuc R-30", "Bosch CtrlX", "Haas VF-2")
DESCRIPTION = "Machine for processing "


@dataclass(frozen=True, slots=True)
class Hall:
    """The machines to simulate, numbered from 1: the first is always the same one, the others differ by seed."""

    machines: int = 3
    seed: int = 1


class SimulatedMachine:
    """One machine, and the status that was set from outside."""

    __slots__ = ("_due_s", "_now_s", "machine", "name", "number", "status")

    def __init__(self, number: int, name: str, machine: Machine, now_s: float, first_reading_s: float) -> None:
        self.number, self.name, self.machine = number, name, machine
        self.status: Status | None = None
        """None until it was set from outside; then it stays, whatever the machine does."""
        self._now_s, self._due_s = now_s, now_s + first_reading_s

    def reading(self, now_s: float, at: Callable[[float], datetime]) -> MachineReading | None:
        """Advance to `now_s`; return the reading, or None where none is due."""
        if now_s < self._due_s:
            return None
        dt_s, self._now_s = now_s - self._now_s, now_s
        self._due_s += READING_INTERVAL_S
        if self._due_s <= now_s:  # missed readings are not made up for
            self._due_s = now_s + READING_INTERVAL_S
        return self._measured(dt_s, at(now_s))

    def past(self, now_s: float, seconds: float, at: Callable[[float], datetime]) -> list[MachineReading]:
        """Let the machine work for so many seconds before `now_s`; return its readings, the last one before `now_s`."""
        recent = int(RECENT_S / 60)
        early_s = (seconds - RECENT_S) / (PAST_READINGS - recent)
        spacings_s = [early_s] * (PAST_READINGS - recent) + [60.0] * recent
        readings, before_s = [], seconds
        for spacing_s in spacings_s:
            readings.append(self._measured(spacing_s, at(now_s - before_s)))
            before_s -= spacing_s
        return readings

    def _measured(self, dt_s: float, at: datetime) -> MachineReading:
        self.machine.step(dt_s)
        temperature_c, fan_rpm = self.machine.measured()
        return MachineReading(
            id=self.number,
            name=self.name,
            description=DESCRIPTION,
            temperature=temperature_c,
            fan_speed=fan_rpm,
            status=(self.status or self.machine.status).value,
            timestamp=at.astimezone(UTC).isoformat(timespec="microseconds"),
        )


class SimulatedMachines:
    """Sans-I/O component: a reading of every machine each 10 plant seconds, spread over them.

    `at` gives the instant of plant time for `now_s`: readings have it as their timestamp.
    """

    def __init__(self, hall: Hall, at: Callable[[float], datetime]) -> None:
        self._hall, self._at = hall, at
        self._machines: dict[str, SimulatedMachine] = {}

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Set a job status; those of machines that are simulated elsewhere are ignored.

        Raises:
            Rejected: the topic names no machine, or the payload is no status.
        """
        levels = STATUS.parse(message.topic)
        if levels is None:
            raise Rejected(f"topic {message.topic!r} names no machine")
        status = STATUS.decode(message).status
        self._begin(now_s)
        if (simulated := self._machines.get(levels["id"])) is not None:
            simulated.status = status
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Advance the machines whose reading is due, and publish it."""
        self._begin(now_s)
        found = ((name, each.reading(now_s, self._at)) for name, each in self._machines.items())
        return [READING.publication(reading, id=name) for name, reading in found if reading is not None]

    def past(self, now_s: float, days: int) -> list[Publication]:
        """Return readings of the days before `now_s`, in order of time; the machines go on from there."""
        self._begin(now_s)
        machines = [*self._machines.items()][:MOST_DEVICES]
        readings = [(name, reading) for name, each in machines for reading in each.past(now_s, days * DAY_S, self._at)]
        readings.sort(key=lambda each: str(each[1].timestamp))
        return [
            replace(READING.publication(reading, id=name), history_at=datetime.fromisoformat(reading.timestamp))
            for name, reading in readings
        ]

    def _begin(self, now_s: float) -> None:
        if self._machines:
            return
        count = max(1, self._hall.machines)
        for number in range(1, count + 1):
            first_reading_s = READING_INTERVAL_S * (number - 1) / count
            self._machines[str(number)] = _simulated(number, self._hall.seed, now_s, first_reading_s)


def _simulated(number: int, seed: int, now_s: float, first_reading_s: float) -> SimulatedMachine:
    own_seed = zlib.crc32(f"{seed}/{number}".encode())
    parameters = MachineParameters() if number == 1 else random_machine(own_seed)
    name = NAMES[(number - 1) % len(NAMES)]
    return SimulatedMachine(number, name, Machine(parameters, own_seed), now_s, first_reading_s)
