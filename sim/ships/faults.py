"""Faults on the way to the bus: missing, bad, repeated, misordered and excessive readings, and late posts."""

import random
from collections.abc import Sequence
from enum import Enum
from typing import Any

Reading = tuple[int, Any]
"""Beginning of its interval, plant seconds since 1970, and the value."""

GARBAGE: tuple[Any, ...] = (None, "n/a", "NaN", "", True)
SPIKE = 5.0


class Fault(Enum):
    """A fault of a reading."""

    MISSING = "missing"
    GARBAGE = "garbage"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out of order"
    SPIKE = "spike"


_KINDS = tuple(Fault)


class Wire:
    """Adds faults to a ship's posts, drawn from `seed`; each reading has one with the probability `share`, 0..1."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._rng = random.Random(f"wire {seed}")
        self._late: list[list[Reading]] = []

    def send(self, readings: Sequence[Reading]) -> list[list[Reading]]:
        """Return the posts that arrive now: these readings, then the posts that were late; none if this one is late."""
        garbled = self._garbled(readings)
        if self._rng.random() < self._share:
            self._late.append(garbled)
            return []
        arriving, self._late = [garbled, *self._late], []
        return [each for each in arriving if each]

    def _garbled(self, readings: Sequence[Reading]) -> list[Reading]:
        sent: list[Reading] = []
        for reading in readings:
            if self._rng.random() < self._share:
                self._spoil(reading, sent)
            else:
                sent.append(reading)
        return sent

    def _spoil(self, reading: Reading, sent: list[Reading]) -> None:
        at_s, value = reading
        fault = self._rng.choice(_KINDS)
        if fault is Fault.GARBAGE:
            sent.append((at_s, self._rng.choice(GARBAGE)))
        elif fault is Fault.REPEATED:
            sent += [reading, reading]
        elif fault is Fault.OUT_OF_ORDER:
            sent.insert(self._rng.randint(0, max(0, len(sent) - 1)), reading)
        elif fault is Fault.SPIKE:
            sent.append((at_s, round(value * SPIKE, 3)))
