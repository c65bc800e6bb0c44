"""Modes that override the law: open window, frost, no trustworthy sensor, a radiator that does not heat."""

import enum
import math
from collections import deque
from dataclasses import dataclass

from controllers.heating.fusion import Fused
from controllers.heating.model import Knowledge

LOWEST_PLAUSIBLE_C, HIGHEST_PLAUSIBLE_C = 0.0, 40.0
"""A room outside is a mistake of its sensors, or an emergency: a person should check. 40 °C is more than any setpoint and any
summer in a house, and the °F of a house that is heated are above it."""
FROST_C, FROST_OVER_C = 7.0, 7.5
FROST_SETPOINT_C = 8.0
FROST_LEVEL_PCT = 50.0
"""Least level while the room is near freezing, regardless of the law."""

WINDOW_FALL_C, WINDOW_WITHIN_S = 1.0, 600.0
"""A fall of this much within this time, most of it not explained by the valve, means an open window."""
WINDOW_RATE_SHARE = 0.25
"""A room that reacts quickly may fall by this share of the effect of full heat in that time without an open window."""
UNEXPLAINED_SHARE = 0.6
WINDOW_LOWER_C, WINDOW_CLOSED_S = 0.05, 120.0
"""The window counts as closed when the room has not become this much colder for this long."""
LONGEST_WINDOW_S, WINDOW_PAUSE_S = 20 * 60.0, 30 * 60.0
WINDOW_REBOUND_S = 25 * 60.0
"""Time in which the walls warm the air again, so that nothing is learned about the level that holds the room."""
WINDOW_OTHER_SENSORS_C = 0.3
"""A larger step in the minute in which other sensors come into use does not count for windows."""
WINDOW_ARMED_AFTER_S = 3600.0
"""A new room may cool for other reasons before the radiator is hot."""

LONGEST_HOLD_S = 20 * 60.0
"""Counted from the last decision with a trusted sensor, or from when the stuck ones stopped moving."""
LONGEST_SILENCE_S = 28 * 60.0
"""Since the last reading of any sensor that could not be trusted in the end: then the level is safe at once."""
SAFE_HIGHEST_PCT, SAFE_LOWEST_PCT = 30.0, 10.0
WARM_C, WARM_KNOWN_S = 1.0, 12 * 3600.0
"""A room that was this much above its setpoint gets no heat without sensors either, for this long: it is summer."""
STUCK_HIGHEST_PCT = 60
"""Highest level held after sensors got stuck: it may be a response to their readings."""

COLD_C = 0.3
UNPROVEN_PCT, QUIET_PCT = 40.0, 60.0
QUIET_S = 20 * 60.0
UNNOTICED_UNPROVEN_S, UNNOTICED_S = 45 * 60.0, 120 * 60.0
"""A sensor that reports cold and does not move during this much heating is stuck."""

FULL_PCT, NO_RISE_C, NO_RISE_AFTER_S = 95, 0.3, 2 * 3600.0


class Mode(enum.StrEnum):
    """Mode of control."""

    HEATING = "heating"
    """The law, towards the setpoint."""
    WINDOW_OPEN = "window open"
    """Valve closed for a bounded time."""
    FROST = "frost protection"
    """Room near freezing: heat in any case."""
    HOLDING = "holding"
    """No trustworthy sensor: the level is held for now."""
    SAFE = "safe"
    """No trustworthy sensor for long: a small level."""


class Alarm(enum.StrEnum):
    """Conditions that a person should check."""

    NO_SENSOR = "no trustworthy sensor"
    NO_RISE = "valve fully open for hours without a rise"
    NO_HEAT = "no heat arrives: heat source off, or valve stuck"
    """It did arrive before. One room alone does not show whether the source or the valve is the cause."""
    SOURCE_OFF = "no heat arrives in several rooms: heat source off"
    """Instead of `NO_HEAT`, while half of the rooms or more have lost their heat."""
    TOO_HOT = "implausible: above 40 °C, are the sensors in °F?"
    """The level does not follow such a temperature: a house in °F would freeze with closed valves."""
    TOO_COLD = "implausible: below 0 °C"
    OSCILLATION = "oscillated: held by a damped PI law"
    """The law that uses the model swung the room; the other one is slower."""


class WindowDetector:
    """Detects an open window by a fall that the valve does not explain, and its closing."""

    __slots__ = ("_armed_s", "_lowest_c", "_lowest_s", "_past", "_rebound_until_s", "opened_s")

    def __init__(self) -> None:
        self._past: deque[tuple[float, float, float]] = deque()  # time, room temperature, prediction error
        self.opened_s: float | None = None
        self._lowest_c = self._lowest_s = 0.0
        self._armed_s: float | None = None
        self._rebound_until_s = -math.inf

    def disturbs(self, now_s: float) -> bool:
        """Return whether a window is open, or the room still recovers from one: then nothing can be learned."""
        return self.opened_s is not None or now_s < self._rebound_until_s

    def update(self, room_c: float, unexplained_c: float, rate_c_s: float, now_s: float) -> bool:
        """Take a room temperature; return whether a window is open.

        Args:
            room_c: room temperature, °C.
            unexplained_c: its difference from the model's prediction, K; negative for colder.
            rate_c_s: effect of full heat on the room, K/s.
            now_s: plant time, s.
        """
        if self.opened_s is not None:
            return self._end(now_s) if self._has_closed(self.opened_s, room_c, now_s) else True
        if self._armed_s is None:
            self._armed_s = now_s + WINDOW_ARMED_AFTER_S
        self._past.append((now_s, room_c, unexplained_c))
        while self._past[0][0] < now_s - WINDOW_WITHIN_S:
            self._past.popleft()
        if now_s >= self._armed_s and self._falls(max(WINDOW_FALL_C, WINDOW_RATE_SHARE * rate_c_s * WINDOW_WITHIN_S)):
            self.opened_s, self._lowest_c, self._lowest_s = now_s, room_c, now_s
        return self.opened_s is not None

    def clear(self) -> None:
        """Clear the history, which came from other sensors."""
        self._past.clear()

    def _falls(self, deep_c: float) -> bool:
        fall_c = max([past_c for _, past_c, _ in self._past]) - self._past[-1][1]
        unexplained_fall_c = -sum([each for _, _, each in self._past])
        return fall_c >= deep_c and unexplained_fall_c >= UNEXPLAINED_SHARE * deep_c

    def _has_closed(self, opened_s: float, room_c: float, now_s: float) -> bool:
        if room_c < self._lowest_c - WINDOW_LOWER_C:
            self._lowest_c, self._lowest_s = room_c, now_s
        return now_s - self._lowest_s >= WINDOW_CLOSED_S or now_s - opened_s >= LONGEST_WINDOW_S

    def _end(self, now_s: float) -> bool:
        self.opened_s = None
        self._rebound_until_s = now_s + WINDOW_REBOUND_S
        self._past.clear()
        self._armed_s = now_s + WINDOW_PAUSE_S
        return False


@dataclass(slots=True)
class KnowledgeHistory:
    """The model's knowledge of ten to twenty minutes ago: before a window that has just been detected was opened."""

    _older: Knowledge | None = None
    _newer: Knowledge | None = None
    _kept_s: float = -1e12

    def keep(self, knowledge: Knowledge, now_s: float) -> None:
        """Keep a copy, unless the newer one is younger than ten minutes."""
        if now_s - self._kept_s >= WINDOW_WITHIN_S:
            self._older, self._newer, self._kept_s = self._newer, knowledge, now_s

    def before(self) -> Knowledge | None:
        """Return the older copy, None if there is none."""
        return self._older


class NoRiseDetector:
    """Detects a fully open valve that does not warm the room."""

    __slots__ = ("_from_c", "_from_s")

    def __init__(self) -> None:
        self._from_s: float | None = None
        self._from_c = 0.0

    def update(self, level: int, room_c: float, now_s: float) -> bool:
        """Take valve level and room temperature, °C; return whether the valve has been open for hours without effect."""
        if level < FULL_PCT:
            self._from_s = None
        elif self._from_s is None or room_c >= self._from_c + NO_RISE_C:
            self._from_s, self._from_c = now_s, room_c
        return self._from_s is not None and now_s - self._from_s >= NO_RISE_AFTER_S


def highest_pct(fused: Fused, setpoint_c: float, moving_pct: float) -> float:
    """Return the highest level that the evidence allows: no full heat by sensors that may be stuck.

    Args:
        fused: with a room temperature.
        setpoint_c: °C.
        moving_pct: the level when a sensor last moved.
    """
    cold = fused.room_c is not None and setpoint_c - fused.room_c > COLD_C
    if cold and not fused.proven:
        return UNPROVEN_PCT
    if fused.unmoved_s < QUIET_S:
        return 100.0
    return QUIET_PCT if cold else max(QUIET_PCT, moving_pct)


def is_unresponsive(fused: Fused, setpoint_c: float, heated_s: float) -> bool:
    """Return whether the sensors used did not react to heating, and so cannot be trusted.

    Args:
        fused: with a room temperature.
        setpoint_c: °C.
        heated_s: time for which the valve has been open by a third or more, s.
    """
    cold = fused.room_c is not None and setpoint_c - fused.room_c > COLD_C
    limit_s = UNNOTICED_S if fused.proven else UNNOTICED_UNPROVEN_S
    return cold and min(fused.unmoved_s, heated_s) >= limit_s


def safe_pct(hold_pct: float) -> float:
    """Return the level for a room of unknown temperature: the level that held it, within 10 to 30."""
    return min(SAFE_HIGHEST_PCT, max(SAFE_LOWEST_PCT, hold_pct))
