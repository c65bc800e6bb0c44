"""One torque driver and its operator, without clock or socket: frames in, frames out when they are due.

The driver's messages are those of its maker (docs/fastening.md); replies to `status`, errors and unknown messages are ours,
since the maker does not document them.
"""

import enum
import heapq
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

USUAL_DEVIATION = 0.01
"""Standard deviation of a tightening, as a share of the configured torque; never more than three of them."""
LEAST_OFF, MOST_OFF = 0.05, 0.15
"""Deviation of a failed tightening, as a share of the configured torque."""
DELAY_SPREAD = 0.3
LATE_S = 3.0
"""Additional delay of a late operation, wall seconds."""
LARGEST_TORQUE_NM = 100_000


class Fault(enum.StrEnum):
    """A fault after the driver was set."""

    DUPLICATE = "duplicate"
    """The operation is sent twice."""
    LATE = "late"
    """The operation comes three seconds late, even if the driver has been set to another torque by then."""
    SILENT = "silent"
    """No operation comes."""
    STRAY = "stray"
    """An operation with another configured value comes first."""
    REVERSE = "reverse"
    """The operator loosens a screw without a request first."""
    GARBAGE = "garbage"
    """A frame that is not JSON comes first."""
    UNKNOWN = "unknown"
    """A message of an undocumented type comes first."""
    DISCONNECT = "disconnect"
    """The connection is closed instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Behaviour of drivers and their operators.

    `delay_s`: wall seconds from a set to its operation, varied by ±30 %; `out_of_range`: share of operations that are 5 to 15 %
    off; `faults`: for each fault, the share of sets that have it. Shares are 0..1.
    """

    delay_s: float = 1.5
    out_of_range: float = 0.05
    faults: Mapping[Fault, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Planned:
    """A frame that the driver will send; `frame` is None where it will close the connection instead."""

    due_s: float
    number: int
    """Frames that are due at the same time are sent in this order."""
    frame: str | None = field(compare=False)
    stays: bool = field(compare=False, default=False)
    """Sent even if the driver is set again, or reset, before it is due."""


class Driver:
    """The state of one driver, reproducible for a seed."""

    def __init__(self, behaviour: Behaviour, seed: str) -> None:
        self._behaviour = behaviour
        self._rng = random.Random(f"torque driver {seed}")
        self._planned: list[Planned] = []
        self._number = 0
        self._configured: float = 0

    @property
    def next_due_s(self) -> float | None:
        """The time at which the next frame is due, on the clock of `now_s`; None when nothing is planned."""
        return self._planned[0].due_s if self._planned else None

    def receive(self, frame: str | bytes, now_s: float) -> None:
        """Handle a frame from the client; a bad one is answered with an `error`."""
        try:
            message = orjson.loads(frame)
        except ValueError as error:
            self._refuse(f"not JSON: {error}", now_s)
            return
        match message:
            case {"type": "setTorque", "data": {"direction": "reverse"}}:
                self._set_reverse(now_s)
            case {"type": "setTorque", "data": {"direction": "forward", "value": value}} if _is_torque(value):
                self._set_forward(value, now_s)
            case {"type": "reset"}:
                self._clear()
            case {"type": "status"}:
                self._plan(now_s, _message("status", state="ready", configuredValue=self._configured))
            case _:
                self._refuse("expected reset, status, or setTorque with a direction and, when forward, a value", now_s)

    def take_due(self, now_s: float) -> list[str | None]:
        """Return the frames that are due at `now_s`, oldest first; None stands for closing the connection."""
        taken: list[str | None] = []
        while self._planned and self._planned[0].due_s <= now_s:
            taken.append(heapq.heappop(self._planned).frame)
        return taken

    def _set_forward(self, value: float, now_s: float) -> None:
        self._clear()
        self._configured = value
        faults, delay_s = self._draw(), self._delay_s()
        operation = _fastened(value, self._tighten(value))
        first_s = now_s + delay_s / 2
        if Fault.STRAY in faults:
            other = round(value * self._rng.uniform(1.2, 1.6), 2)
            self._plan(first_s, _fastened(other, self._tighten(other)))
        if Fault.REVERSE in faults:
            self._plan(first_s, _REVERSED)
        self._answer(operation, faults, now_s, delay_s)

    def _set_reverse(self, now_s: float) -> None:
        self._clear()
        self._answer(_REVERSED, self._draw(), now_s, self._delay_s())

    def _answer(self, operation: str, faults: set[Fault], now_s: float, delay_s: float) -> None:
        """Plan the operation, with the faults that any set may have."""
        due_s = now_s + delay_s
        if Fault.GARBAGE in faults:
            self._plan(now_s + delay_s / 2, operation[: self._rng.randrange(1, len(operation))])
        if Fault.UNKNOWN in faults:
            self._plan(now_s + delay_s / 2, _message("battery", percent=self._rng.randint(5, 100)))
        if Fault.DISCONNECT in faults:
            self._plan(due_s, None)
        elif Fault.SILENT not in faults:
            late = Fault.LATE in faults
            for _ in range(2 if Fault.DUPLICATE in faults else 1):
                self._plan(due_s + (LATE_S if late else 0), operation, stays=late)

    def _draw(self) -> set[Fault]:
        """Draw the faults of one set; each is drawn whatever its share, so that shares do not change the rest."""
        draws = {each: self._rng.random() for each in Fault}
        return {each for each, draw in draws.items() if draw < self._behaviour.faults.get(each, 0)}

    def _delay_s(self) -> float:
        return self._behaviour.delay_s * self._rng.uniform(1 - DELAY_SPREAD, 1 + DELAY_SPREAD)

    def _tighten(self, configured_nm: float) -> float:
        """Draw the torque, N·m, that a screw is fastened at."""
        deviation = max(-3.0, min(3.0, self._rng.gauss(0.0, 1.0))) * USUAL_DEVIATION
        if self._rng.random() < self._behaviour.out_of_range:
            deviation = self._rng.choice((-1, 1)) * self._rng.uniform(LEAST_OFF, MOST_OFF)
        return round(configured_nm * (1 + deviation), 3)

    def _clear(self) -> None:
        """Clear the configured torque and the planned frames, except late ones."""
        self._configured = 0
        self._planned = [each for each in self._planned if each.stays]
        heapq.heapify(self._planned)

    def _refuse(self, reason: str, now_s: float) -> None:
        self._plan(now_s, _message("error", message=reason))

    def _plan(self, due_s: float, frame: str | None, stays: bool = False) -> None:
        self._number += 1
        heapq.heappush(self._planned, Planned(due_s, self._number, frame, stays))


def _is_torque(value: Any) -> bool:
    """Return whether a JSON value is a positive number of N·m; `true` is not, though Python counts it as 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_TORQUE_NM


def _fastened(configured_nm: float, current_nm: float) -> str:
    return _message("operation", direction="forward", currentValue=current_nm, configuredValue=configured_nm)


def _message(kind: str, **data: Any) -> str:
    return orjson.dumps({"type": kind, "data": data}).decode()


_REVERSED = _message("operation", direction="reverse", configuredValue=0, currentValue=0)
