"""The control laws that the shipped one is compared with, each given the plain mean of the sensors."""

from collections.abc import Mapping
from typing import Protocol

from controllers.heating.room import RoomControl

SETPOINT_C = 22.0


class Law(Protocol):
    """Any law: readings in, valve level out, once a minute."""

    def level(self, readings: Mapping[str, float], now_s: float) -> int:
        """Give the valve level, 0..100, for the readings (°C by sensor) of plant time `now_s`."""
        ...


class TwoPoint:
    """On below the setpoint, off above, with half a kelvin between."""

    def __init__(self) -> None:
        self._level = 0

    def level(self, readings: Mapping[str, float], now_s: float) -> int:
        """Switch outside ±0.25 K."""
        error_c = _error_c(readings)
        if abs(error_c) > 0.25:
            self._level = 100 if error_c > 0 else 0
        return self._level


class Proportional:
    """40 percent of valve level per kelvin."""

    def level(self, readings: Mapping[str, float], now_s: float) -> int:
        """Respond to the error only."""
        return round(min(100.0, max(0.0, 40 * _error_c(readings))))


class FixedPi:
    """One gain for all rooms: 25 percent per kelvin, reset time an hour, conditional integration, dead band 3.

    The best on average of 16 settings (6, 12, 25, 50 percent per kelvin; 1, 1.5, 3, 6 hours), see decision 3.
    """

    def __init__(self) -> None:
        self._level, self._integral_pct = 0, 0.0

    def level(self, readings: Mapping[str, float], now_s: float) -> int:
        """Respond to the error and to its sum; the sum stays the same while the valve is at an end."""
        proportional_pct = 25 * _error_c(readings)
        wanted_pct = proportional_pct + self._integral_pct
        if 0 < wanted_pct < 100 or (wanted_pct > 50) != (proportional_pct > 0):
            self._integral_pct += proportional_pct * 60 / 3600
        limited_pct = min(100.0, max(0.0, wanted_pct))
        if abs(limited_pct - self._level) >= 3 or limited_pct in (0.0, 100.0):
            self._level = round(limited_pct)
        return self._level


class Shipped:
    """The shipped law of `controllers/heating`, with fusion."""

    def __init__(self) -> None:
        self._room: RoomControl | None = None

    def level(self, readings: Mapping[str, float], now_s: float) -> int:
        """Take the readings and decide."""
        self._room = self._room or RoomControl(now_s - 60)
        for sensor, value_c in readings.items():
            self._room.read(sensor, value_c, now_s)
        return self._room.decide(now_s).level


def _error_c(readings: Mapping[str, float]) -> float:
    return SETPOINT_C - sum(readings.values()) / len(readings) if readings else 0.0
