"""One temperature sensor: its readings, and the faults that can be found without other sensors."""

import enum
import math

from controllers.heating.habit import SHORTEST_ALLOWED_S, Habit

MOST_SENSORS = 16
"""Sensors in one room."""
LOWEST_C, HIGHEST_C = -20.0, 60.0
"""Physical range of a room. Common error codes of sensors (-127, 85, 327.67 °C) lie outside."""
SMOOTHING_S = 60.0
JUMP_C, JUMP_RATE_C_S = 1.5, 1.5 / 60.0
"""A change between two readings of more than the first, plus the second times the time between them, is not plausible."""
LARGEST_JUMP_C = 10.0
JUMP_CONFIRMED_AFTER, JUMP_CONFIRMED_S, JUMP_TOLERANCE_C = 5, 180.0, 1.0
STUCK_RUNS, SHORTEST_STUCK_RUN, SHORTEST_STUCK_S = 12.0, 10, 180.0
NOISY_STEPS = 1.5
CHANCE_REPEATS = 1.5
"""Usual intervals for which a sensor that reports rarely may repeat a value although the room moves: it may have returned."""
FEWEST_CHANGES = 20
LONGEST_UNMOVED_S = 24 * 3600.0
LARGEST_OFFSET_C = 1.5
LARGEST_CARRIED_C = 2.0
"""Largest movement of the room since a reading that is added to it, K."""
FASTEST_LEARNING_S, SLOWEST_LEARNING_S = 600.0, 6 * 3600.0
DOUBT_C = 0.3
"""At this distance from the others, K, a sensor weighs a quarter."""


class Reason(enum.StrEnum):
    """Why a sensor is left out."""

    STALE = "stale"
    STUCK = "stuck"
    OUT_OF_RANGE = "out of range"
    FAR = "far from the others"
    JUMPING = "jumping"


class Sensor:
    """State of one sensor.

    Attributes:
        value_c: last accepted reading, °C.
        smooth_c: accepted readings smoothed over about a minute, °C.
        last_reading_s: plant time of the last reading, accepted or not.
        moved_s: plant time at which the value last changed (or the first reading).
        proven: whether it has moved since its first reading, or since it jumped: a stuck one has not.
        offset_c: learned difference from the room temperature, K; None until learned.
        learned_s: time for which the offset has been learned, s.
        carried_c: movement of the room since the last reading, K.
        compared_s: plant time of the last reading that was compared with the room temperature.
        gap_c: corrected reading less room temperature when it last moved, K.
        distrusted: it did not move while the room was heated; until it moves.
    """

    __slots__ = (
        "_changes",
        "_habit",
        "_out_of_range",
        "_pending_c",
        "_pending_count",
        "_pending_s",
        "_reported_c",
        "_reversal_c",
        "_run_length",
        "_same",
        "_step_c",
        "carried_c",
        "compared_s",
        "distrusted",
        "gap_c",
        "last_reading_s",
        "learned_s",
        "moved_s",
        "offset_c",
        "proven",
        "smallest_step_c",
        "smooth_c",
        "value_c",
        "was_far",
    )  # fmt: skip

    def __init__(self, value_c: float, now_s: float) -> None:
        self.value_c = self.smooth_c = self._reported_c = value_c
        self.last_reading_s = self.moved_s = self.compared_s = now_s
        self.proven = False
        self._habit = Habit()
        self._changes = 0
        self.smallest_step_c = math.inf
        self.offset_c: float | None = None
        self.learned_s = self.gap_c = self.carried_c = 0.0
        self.distrusted = self.was_far = False
        self._out_of_range = not LOWEST_C <= value_c <= HIGHEST_C
        self._same = 0
        self._run_length = 1.0
        self._step_c = self._reversal_c = 0.0
        self._pending_c = self._pending_s = 0.0
        self._pending_count = 0

    def read(self, value_c: float, now_s: float) -> None:
        """Take a reading.

        Args:
            value_c: reading, °C, any finite number.
            now_s: plant time, s, never before the last one.
        """
        dt_s, self.last_reading_s = now_s - self.last_reading_s, now_s
        self.carried_c = 0.0
        if dt_s > SHORTEST_ALLOWED_S and dt_s > self.allowed_silence_s:  # after silence, an unchanged value proves nothing
            self.moved_s, self._same = now_s, 0
        self._habit.note(dt_s, value_c - self._reported_c)
        self._reported_c = value_c
        was_out, self._out_of_range = self._out_of_range, not LOWEST_C <= value_c <= HIGHEST_C
        if self._out_of_range:
            return
        if was_out and self._changes == 0:
            self._restart(value_c)
        elif self._is_jump(value_c, dt_s):
            self._take_jump(value_c, now_s)
        else:
            self._accept(value_c, dt_s, now_s)

    def _is_jump(self, value_c: float, dt_s: float) -> bool:
        allowed_c = JUMP_C + JUMP_RATE_C_S * dt_s
        return abs(value_c - self.value_c) > allowed_c and allowed_c < LARGEST_JUMP_C

    def _take_jump(self, value_c: float, now_s: float) -> None:
        """Accept a jump once it has lasted."""
        if not self._pending_count or abs(value_c - self._pending_c) > JUMP_TOLERANCE_C:
            self._pending_count, self._pending_s = 0, now_s
        self._pending_c = value_c
        self._pending_count += 1
        if self._pending_count >= JUMP_CONFIRMED_AFTER and now_s - self._pending_s >= JUMP_CONFIRMED_S:
            self._restart(value_c)
            self.moved_s, self.proven, self._same = now_s, False, 0

    def _restart(self, value_c: float) -> None:
        self.value_c = self.smooth_c = value_c
        self._pending_count = 0

    def _accept(self, value_c: float, dt_s: float, now_s: float) -> None:
        self._pending_count = 0
        step_c = value_c - self.value_c
        if step_c:
            self._note_change(step_c, now_s)
        else:
            self._same += 1
        self.value_c = value_c
        self.smooth_c += (value_c - self.smooth_c) * (1 - math.exp(-max(dt_s, 1.0) / SMOOTHING_S))

    def _note_change(self, step_c: float, now_s: float) -> None:
        self._changes += 1
        self.moved_s = now_s
        self.proven, self.distrusted = True, False
        self._run_length += 0.1 * (self._same + 1 - self._run_length)
        self._same = 0
        self.smallest_step_c = min(self.smallest_step_c, abs(step_c))
        if step_c * self._step_c < 0:  # only noise reverses; a ramp does not
            self._reversal_c += 0.1 * (min(abs(step_c), abs(self._step_c)) - self._reversal_c)
        self._step_c = step_c

    @property
    def reports_changes_only(self) -> bool:
        """Whether it reports only when its value changes."""
        return self._habit.reports_changes_only

    @property
    def reports_rarely(self) -> bool:
        """Whether it reports at an interval of more than five minutes."""
        return self._habit.usual_s > SHORTEST_ALLOWED_S and not self.reports_changes_only

    @property
    def allowed_silence_s(self) -> float:
        """The longest silence that does not mean failure, s."""
        return self._habit.allowed_s(self._is_noisy())

    @property
    def just_moved(self) -> bool:
        """Whether its last reading, or the one before if it reports rarely, changed: one repeated value may be chance."""
        if self.reports_changes_only:
            return False
        chance_s = CHANCE_REPEATS * self._habit.usual_s if self.reports_rarely else 0.0
        return self.last_reading_s - self.moved_s <= chance_s

    def age_s(self, now_s: float) -> float:
        """Return the age of its value, s; zero for one that would have reported a change."""
        silent_s = now_s - self.last_reading_s
        return 0.0 if silent_s > SHORTEST_ALLOWED_S and self.reports_changes_only else silent_s

    @property
    def resolution_c(self) -> float:
        """Step of the reported values, K: the smallest one seen, or what the digits of the value suggest."""
        if self._changes:
            return min(1.0, self.smallest_step_c)
        steps_c = (1.0, 0.5, 0.1)
        return next((each for each in steps_c if math.isclose(round(self.value_c / each) * each, self.value_c)), 0.01)

    @property
    def corrected_c(self) -> float:
        """The smoothed reading less the learned offset, °C, with the movement of the room since."""
        return self.smooth_c + self.carried_c - (self.offset_c or 0.0)

    def is_current(self, since_s: float) -> bool:
        """Return whether it has reported since a plant time, or would have if its value had changed."""
        return self.last_reading_s > since_s or self.reports_changes_only

    def carry(self, moved_c: float, since_s: float) -> None:
        """Add the movement of the room since plant time `since_s`, K, unless it has reported, or would have."""
        if not self.is_current(since_s):
            self.carried_c = max(-LARGEST_CARRIED_C, min(LARGEST_CARRIED_C, self.carried_c + moved_c))

    def learn_offset(self, room_c: float, dt_s: float) -> None:
        """Move the offset towards the present difference; less, the longer it is learned and the larger the residual is.

        Args:
            room_c: room temperature, °C.
            dt_s: time since the last call, s.
        """
        if self.offset_c is None:
            return
        self.learned_s += dt_s
        residual_c = self.corrected_c - room_c
        time_constant_s = min(SLOWEST_LEARNING_S, max(FASTEST_LEARNING_S, self.learned_s))
        share = dt_s / time_constant_s / (1 + (residual_c / DOUBT_C) ** 2) ** 2
        self.offset_c = max(-LARGEST_OFFSET_C, min(LARGEST_OFFSET_C, self.offset_c + share * residual_c))

    def fault(self, now_s: float) -> Reason | None:
        """Return the fault that is evident without other sensors, or None."""
        silent_s = now_s - self.last_reading_s
        if silent_s > SHORTEST_ALLOWED_S and silent_s > self.allowed_silence_s:
            return Reason.STALE
        if self._out_of_range:
            return Reason.OUT_OF_RANGE
        if self._pending_count:
            return Reason.JUMPING
        return Reason.STUCK if self.distrusted or self._has_frozen() else None

    def _has_frozen(self) -> bool:
        """Return whether it repeats a value far longer than its own noise ever did.

        This applies only to sensors whose noise spans several steps of their resolution: a coarse one in a quiet room rightly
        repeats a value for hours.
        """
        unmoved_s = self.last_reading_s - self.moved_s
        if unmoved_s > LONGEST_UNMOVED_S:
            return True
        long = self._same >= max(SHORTEST_STUCK_RUN, STUCK_RUNS * self._run_length) and unmoved_s >= SHORTEST_STUCK_S
        return long and self._is_noisy()

    def _is_noisy(self) -> bool:
        """Return whether its noise spans several steps of its resolution."""
        return self._changes >= FEWEST_CHANGES and self._reversal_c >= NOISY_STEPS * self.smallest_step_c
