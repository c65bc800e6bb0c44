"""One charging booth without clock or socket: customers arrive and leave, their batteries charge.

A battery is charged with constant current, then at constant voltage, as is usual for lithium-ion (CC-CV; Texas Instruments,
"Introduction to Battery Management", part 3): the current is held until the battery has its highest voltage, and then falls
until next to nothing flows and the battery is full. Here the first part ends at 80 %, and in the second the current falls
exponentially from what it was, as into a capacitor behind a resistor, down to 2 % of it; that is a simplification.
"""

import math
import random
from dataclasses import dataclass
from typing import Self

TAPER_PCT = 80.0
"""State of charge where the current begins to fall, %."""
CUT_OFF = 0.02
"""Share of the constant current at which a battery is full."""
SEND_INTERVAL_S = 120.0
_CEILING_PCT = (100.0 - TAPER_PCT * CUT_OFF) / (1.0 - CUT_OFF)
"""The state of charge that would be approached without a cut-off: it is 100 % when the current has fallen to the cut-off."""

LOWEST_PCT, HIGHEST_PCT = 5.0, 60.0
"""State of charge of an arriving battery, %."""
FASTEST_S, SLOWEST_S = 1500.0, 2100.0
"""From 0 to 80 %."""
SHORTEST_EMPTY_S, LONGEST_EMPTY_S = 300.0, 1800.0
SOONEST_S, LATEST_S = 60.0, 1200.0
"""From full to unplugged."""
EARLY_SHARE = 0.2
"""Share of customers who do not wait until the battery is full."""


@dataclass(frozen=True, slots=True)
class Battery:
    """One battery on a charger.

    `arrived_pct`: state of charge when it was plugged in, 0..100 %; `constant_current_s`: time from 0 to 80 %, s, above 0.
    """

    arrived_pct: float
    constant_current_s: float

    @property
    def taper_after_s(self) -> float:
        """Seconds from plugging in to 80 %; 0 where it arrived with more."""
        return max(0.0, TAPER_PCT - self.arrived_pct) / TAPER_PCT * self.constant_current_s

    @property
    def full_after_s(self) -> float:
        """Seconds from plugging in to 100 %."""
        missing = (_CEILING_PCT - max(TAPER_PCT, self.arrived_pct)) / (_CEILING_PCT - 100.0)
        return self.taper_after_s + self._lag_s * math.log(missing)

    def soc_pct(self, charged_s: float) -> float:
        """Return the state of charge, %, after so many seconds on the charger."""
        if charged_s >= self.full_after_s:
            return 100.0
        if charged_s < self.taper_after_s:
            return min(TAPER_PCT, self.arrived_pct + charged_s * TAPER_PCT / self.constant_current_s)
        tapers_from_pct = max(TAPER_PCT, self.arrived_pct)
        risen = -math.expm1((self.taper_after_s - charged_s) / self._lag_s)
        return min(100.0, tapers_from_pct + (_CEILING_PCT - tapers_from_pct) * risen)

    @property
    def _lag_s(self) -> float:
        """Time constant of the current: it begins to fall from the constant one, so the curve has no bend at 80 %."""
        return (_CEILING_PCT - TAPER_PCT) / TAPER_PCT * self.constant_current_s


@dataclass(frozen=True, slots=True)
class Stay:
    """One customer: their battery, and seconds from plugging in to unplugging."""

    battery: Battery
    stays_s: float

    @classmethod
    def drawn(cls, rng: random.Random) -> Self:
        """Draw a customer, always with the same number of random numbers."""
        battery = Battery(rng.uniform(LOWEST_PCT, HIGHEST_PCT), rng.uniform(FASTEST_S, SLOWEST_S))
        full_s, early = battery.full_after_s, rng.random() < EARLY_SHARE
        waited = rng.random()
        stays_s = full_s * (0.3 + 0.6 * waited) if early else full_s + SOONEST_S + (LATEST_S - SOONEST_S) * waited
        return cls(battery, stays_s)


class Booth:
    """The state of one booth, reproducible for a seed. It is empty at first, for less than two minutes."""

    __slots__ = ("_empty_s", "_passed_s", "_rng", "_send_at_s", "_stay")

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(f"booth {seed}")
        self._stay: Stay | None = None
        self._empty_s = self._rng.uniform(0.0, SEND_INTERVAL_S)
        self._passed_s = self._send_at_s = 0.0
        """Since the battery was plugged in or unplugged."""

    @property
    def soc(self) -> int | None:
        """State of charge in whole percent, rounded down, so that 100 is full; None without a battery."""
        return None if self._stay is None else int(self._stay.battery.soc_pct(self._passed_s))

    @property
    def next_s(self) -> float:
        """Plant seconds until something happens: a state of charge is sent, a battery is plugged in or unplugged."""
        return max(0.0, self._happens_at_s() - self._passed_s)

    def step(self, dt_s: float) -> int | None:
        """Advance the booth.

        Args:
            dt_s: plant seconds to advance, zero or more.

        Returns:
            The state of charge to send, %; the last one where several were due; None where there is none.
        """
        due = None
        while self._passed_s + dt_s >= (at_s := self._happens_at_s()):
            dt_s -= at_s - self._passed_s
            self._passed_s = at_s
            due = self._happen()
        self._passed_s += dt_s
        return due

    def _happens_at_s(self) -> float:
        if self._stay is None:
            return self._empty_s
        return min(self._send_at_s, self._stay.stays_s)

    def _happen(self) -> int | None:
        """Do what is due now; return the state of charge to send, or None."""
        if self._stay is None:
            self._stay = Stay.drawn(self._rng)
            self._passed_s = 0.0
        elif self._passed_s >= self._stay.stays_s:
            self._stay = None
            self._empty_s = self._rng.uniform(SHORTEST_EMPTY_S, LONGEST_EMPTY_S)
            self._passed_s = 0.0
            return None
        self._send_at_s = self._following_s(self._stay.battery.full_after_s)
        return self.soc

    def _following_s(self, full_after_s: float) -> float:
        """When to send next: after the interval, or when the battery is full if that is before."""
        regular_s = self._passed_s + SEND_INTERVAL_S
        return full_after_s if self._passed_s < full_after_s < regular_s else regular_s
