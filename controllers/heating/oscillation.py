"""A guard against sustained oscillation, independent of the model: it detects one, and then a damped PI law takes over.

The room temperature is cut into swings between its turning points. Similar swings that do not decay, with similar periods and
a level that swings along, are a limit cycle. Its level and temperature give gain and phase of the room at that period, as in
a relay experiment (Åström and Hägglund 1984). With the phase expressed as dead time of an integrating room, a rule like that
of Skogestad (SIMC, 2003) gives a PI law with ample margin, whatever the model believes.
"""

import itertools
import math
import statistics
from collections import deque
from dataclasses import dataclass

LEAST_LEVEL_PCT = 35.0
"""With less, quick rooms under changing clouds look like a limit cycle."""
UNEQUAL = 2.5
"""Largest ratio of two swings of one cycle, and of the durations of two swings in one direction."""
SUSTAINED = 0.8
"""Least ratio of the newer swings to the older ones."""
FULLNESS = 0.65
"""Least standard deviation of the temperature, as a share of a sine's with such swings: less if it rests in between."""
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 900.0, 6 * 3600.0
GAIN, RESET = 0.5, 4.0
"""Gain times room gain and dead time, and reset time in dead times: a gain margin of 3 in an integrating room. Tighter ones
(0.7 and 3) oscillated again in one room of three, looser ones (0.33 and 6) hold a room worse."""
LEAST_GAIN_PCT_C, MOST_GAIN_PCT_C = 1.0, 50.0
SHORTEST_RESET_S = 300.0
LIMITED_PCT = 8.0
"""Larger than the dead band of the level."""
FIRST_CALM_S, LONGEST_CALM_S = 24 * 3600.0, 8 * 24 * 3600.0
"""Time without oscillation after which the law takes over again: doubled each time it oscillates again."""
NEAR_C = 1.0
"""Errors are integrated as if they were no larger: those come from a setpoint change, a window or a cold start."""
REMEMBERED_MIN = 60
"""Levels before a turning point that are remembered, at least as many as half a period of most rooms."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The signal that is cut into swings."""

    is_level: bool
    """The level, percent; else the temperature, K."""
    reversal: float
    """A turning point counts once the signal has come back this far."""
    least_swing: float
    swings: int
    """Swings that make a cycle; even."""


TEMPERATURE = Signal(is_level=False, reversal=0.25, least_swing=1.5, swings=4)
"""Smaller swings may come from sun and clouds, which the law with the model answers better than the PI law."""
LEVEL = Signal(is_level=True, reversal=10.0, least_swing=40.0, swings=8)
"""A level that swings although the room hardly notices wears the valve out."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A limit cycle."""

    period_s: float
    amplitude_c: float
    hold_pct: float
    """Level that holds the setpoint: the one that had arrived when the temperature turned."""
    gain_c_s: float
    """Speed of the temperature per percent of level, as if the room integrated, K/s."""
    dead_s: float
    """The delay of the temperature after the level, as if it all were dead time, s."""


@dataclass(frozen=True, slots=True)
class Oscillation:
    """What the guard measured, and the PI law that followed from it."""

    period_s: float
    amplitude_c: float
    gain_pct_c: float
    reset_s: float


class _Swing:
    """Sums over one swing between two turning points."""

    __slots__ = (
        "before",
        "cross",
        "end",
        "highest_pct",
        "level",
        "level_square",
        "lowest_pct",
        "slope",
        "time_s",
        "warm",
        "warm_square",
    )

    def __init__(self, level: float) -> None:
        self.time_s = self.level = self.level_square = self.warm = self.warm_square = self.cross = self.slope = self.end = 0.0
        self.lowest_pct = self.highest_pct = level
        self.before = b""

    def add(self, level: float, warm_c: float, step_c: float, dt_s: float) -> None:
        self.time_s += dt_s
        self.level += level * dt_s
        self.level_square += level * level * dt_s
        self.warm += warm_c * dt_s
        self.warm_square += warm_c * warm_c * dt_s
        self.cross += level * warm_c * dt_s
        self.slope += level * step_c
        self.lowest_pct, self.highest_pct = min(self.lowest_pct, level), max(self.highest_pct, level)

    def merge(self, other: "_Swing") -> None:
        self.time_s += other.time_s
        self.level += other.level
        self.level_square += other.level_square
        self.warm += other.warm
        self.warm_square += other.warm_square
        self.cross += other.cross
        self.slope += other.slope
        self.lowest_pct = min(self.lowest_pct, other.lowest_pct)
        self.highest_pct = max(self.highest_pct, other.highest_pct)


class CycleDetector:
    """Detects a limit cycle in temperature and level of one room."""

    __slots__ = ("_last_c", "_later", "_levels", "_now", "_rising", "_signal", "_swings", "_turn")

    def __init__(self, signal: Signal = TEMPERATURE) -> None:
        self._signal = signal
        self.clear()

    def clear(self) -> None:
        """Start again."""
        self._swings: deque[_Swing] = deque(maxlen=self._signal.swings + 1)
        self._now: _Swing | None = None  # up to the last extreme; `_later` since then
        self._later = _Swing(0.0)
        self._levels = bytearray()  # one a minute
        self._rising = True
        self._turn = self._last_c = 0.0

    def update(self, warm_c: float, level: float, dt_s: float) -> Cycle | None:
        """Take the temperature, relative to the setpoint, K, and the level that led to it; return a cycle that it completes."""
        value = level if self._signal.is_level else warm_c
        if self._now is None:
            self._now, self._later, self._turn, self._last_c = _Swing(level), _Swing(level), value, warm_c
            return None
        self._levels += bytes([round(level)]) * min(REMEMBERED_MIN, max(1, round(dt_s / 60)))
        del self._levels[: -2 * REMEMBERED_MIN]
        self._later.add(level, warm_c, warm_c - self._last_c, dt_s)
        self._last_c = warm_c
        ahead = value - self._turn if self._rising else self._turn - value
        if ahead >= 0:
            self._turn = value
            self._now.merge(self._later)
            self._later = _Swing(level)
        elif ahead <= -self._signal.reversal:
            return self._end_swing(self._now, value, level)
        return None

    def _end_swing(self, swing: _Swing, value: float, level: float) -> Cycle | None:
        swing.end = self._turn
        ago = min(round(self._later.time_s / 60), REMEMBERED_MIN)
        swing.before = bytes(self._levels[: len(self._levels) - ago][-REMEMBERED_MIN:])
        self._swings.append(swing)
        self._now, self._later = self._later, _Swing(level)
        self._rising, self._turn = not self._rising, value
        return self._cycle()

    def _cycle(self) -> Cycle | None:
        count = self._signal.swings
        if len(self._swings) <= count:
            return None
        spans = [abs(b.end - a.end) for a, b in itertools.pairwise(self._swings)]
        swings = list(self._swings)[1:]
        if min(spans) < max(self._signal.least_swing, max(spans) / UNEQUAL):
            return None
        if sum(spans[count // 2 :]) < SUSTAINED * sum(spans[: count // 2]):
            return None
        times_s = [each.time_s for each in swings]
        if max(times_s[::2]) > UNEQUAL * min(times_s[::2]) or max(times_s[1::2]) > UNEQUAL * min(times_s[1::2]):
            return None
        for first, second in itertools.pairwise(swings):
            if max(first.highest_pct, second.highest_pct) - min(first.lowest_pct, second.lowest_pct) < LEAST_LEVEL_PCT:
                return None
        return _measure(swings, self._signal, sum(spans) / (2 * count))


def _measure(swings: list[_Swing], signal: Signal, amplitude: float) -> Cycle | None:
    """Return the cycle of whole periods, None if it is none: too short, too long, or resting between the swings."""
    whole = _Swing(swings[0].lowest_pct)
    for each in swings:
        whole.merge(each)
    period_s = 2 * whole.time_s / len(swings)
    if not SHORTEST_PERIOD_S <= period_s <= LONGEST_PERIOD_S:
        return None
    level, warm = whole.level / whole.time_s, whole.warm / whole.time_s
    level_deviation = math.sqrt(max(1e-9, whole.level_square / whole.time_s - level * level))
    warm_deviation = math.sqrt(max(1e-9, whole.warm_square / whole.time_s - warm * warm))
    if (level_deviation if signal.is_level else warm_deviation) < FULLNESS * amplitude / math.sqrt(2):
        return None
    speed = 2 * math.pi / period_s
    in_phase = whole.cross / whole.time_s - level * warm
    behind = whole.slope / whole.time_s / speed
    phase = math.atan2(-behind, in_phase) % (2 * math.pi) - 2 * math.pi
    dead_s = min(period_s / 2, max(period_s / 12, (-phase - math.pi / 2) / speed))
    hold_pct = statistics.fmean([each.before[-min(len(each.before), 1 + round(dead_s / 60))] for each in swings])
    amplitude_c = math.sqrt(2) * warm_deviation
    return Cycle(
        period_s, amplitude_c, level if signal.is_level else hold_pct, speed * warm_deviation / level_deviation, dead_s
    )


class DampedPi:
    """A PI law with anti-windup.

    Attributes:
        gain_pct_c: percent of level per K.
        reset_s: reset time, s.
        integral_pct: integral part, percent.
    """

    __slots__ = ("_wanted_pct", "gain_pct_c", "integral_pct", "reset_s")

    def __init__(self, gain_pct_c: float, reset_s: float, integral_pct: float) -> None:
        self.gain_pct_c, self.reset_s, self.integral_pct = gain_pct_c, reset_s, integral_pct
        self._wanted_pct = 0.0

    def update(self, error_c: float, level: float, dt_s: float) -> float:
        """Integrate the error; return the proportional part, percent.

        Args:
            error_c: setpoint less temperature, K.
            level: level that was set, percent; while a limit keeps it far below the wanted one, nothing is integrated.
            dt_s: s.
        """
        proportional_pct = self.gain_pct_c * error_c
        wanted_pct = proportional_pct + self.integral_pct
        limited = level < min(100.0, self._wanted_pct) - LIMITED_PCT or wanted_pct >= 100
        self._wanted_pct = wanted_pct
        if not (limited if error_c > 0 else wanted_pct <= 0):
            near_c = min(NEAR_C, max(-NEAR_C, error_c))
            self.integral_pct = min(100.0, max(0.0, self.integral_pct + self.gain_pct_c * near_c * dt_s / self.reset_s))
        return proportional_pct


class OscillationGuard:
    """Decides which law a room needs: the one with the model, or the damped PI law after an oscillation.

    Attributes:
        oscillation: what was measured and done, while the PI law is in charge.
        law: the PI law, while it is in charge.
    """

    __slots__ = ("_calm_s", "_detectors", "_quiet_s", "_setpoint_c", "law", "oscillation")

    def __init__(self) -> None:
        self._detectors = CycleDetector(TEMPERATURE), CycleDetector(LEVEL)
        self._calm_s, self._quiet_s = FIRST_CALM_S, 0.0
        self._setpoint_c = math.nan
        self.oscillation: Oscillation | None = None
        self.law: DampedPi | None = None

    def update(self, room_c: float, setpoint_c: float, level: float, dt_s: float) -> None:
        """Take the room temperature, °C, and the level until now.

        Args:
            room_c: °C.
            setpoint_c: °C; a change starts the detection again.
            level: percent.
            dt_s: time since the last call, s.
        """
        if setpoint_c != self._setpoint_c:
            self._setpoint_c = setpoint_c
            self.pause()
        self._quiet_s += dt_s
        found = [each.update(room_c - setpoint_c, level, dt_s) for each in self._detectors]
        if (cycle := found[0] or found[1]) is not None:
            self._back_off(cycle)
        elif self.law is not None and self._quiet_s >= self._calm_s:
            self.law = self.oscillation = None
            self._calm_s = min(LONGEST_CALM_S, 2 * self._calm_s)

    def restore(self, oscillation: Oscillation, integral_pct: float) -> None:
        """Continue with the PI law of an earlier run, from its integral part, percent."""
        self.oscillation = oscillation
        self.law = DampedPi(
            min(MOST_GAIN_PCT_C, max(LEAST_GAIN_PCT_C, oscillation.gain_pct_c)),
            max(SHORTEST_RESET_S, oscillation.reset_s),
            min(100.0, max(0.0, integral_pct)),
        )

    def pause(self) -> None:
        """Start the detection again: the temperature is not known, or follows something else."""
        for each in self._detectors:
            each.clear()

    def _back_off(self, cycle: Cycle) -> None:
        """Take the PI law that this cycle suggests; a cycle under a PI law at least halves its gain."""
        gain_pct_c = min(MOST_GAIN_PCT_C, max(LEAST_GAIN_PCT_C, GAIN / (cycle.gain_c_s * cycle.dead_s)))
        reset_s = RESET * cycle.dead_s
        if self.law is not None:
            gain_pct_c, reset_s = min(gain_pct_c, self.law.gain_pct_c / 2), max(reset_s, self.law.reset_s)
        gain_pct_c = max(LEAST_GAIN_PCT_C, gain_pct_c)
        self.law = DampedPi(gain_pct_c, reset_s, cycle.hold_pct)
        self.oscillation = Oscillation(cycle.period_s, cycle.amplitude_c, gain_pct_c, reset_s)
        self._quiet_s = 0.0
        self.pause()
