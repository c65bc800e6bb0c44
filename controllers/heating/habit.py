"""How a sensor reports: at an interval, or only when its value changes. Learned from its readings.

A sensor that reports at an interval and stops has failed. One that reports only changes is silent while the room is quiet.
"""

SHORTEST_ALLOWED_S = 300.0
"""Five missed readings of a sensor that reports every minute, so that late messages do not count as silence."""
MISSED = 2.5
"""Silence of a sensor that reports at an interval, in intervals, after which it has failed."""
ON_CHANGE_ALLOWED_S = 24 * 3600.0
"""Longest silence of a sensor that reports only changes, while nothing shows that the room has changed."""
FEWEST_GAPS = 4
LEAST_SHARE = 0.1
"""Weight of the newest report; the first ones weigh more."""
LONGEST_GAP = 3.0
"""A gap counts as this many usual ones at most, so that one outage does not look like a new interval."""
SOONEST_S = 0.5
"""Readings closer than this arrived late, together: their distance means nothing."""
REPEATS, IRREGULAR, REVERSALS = 0.05, 0.3, 0.15
CLOCKWORK, UNEVEN = 0.1, 0.3
"""Rare reports that are more regular than this, while more of their steps differ, follow a clock."""
LEAST_CHANGE = 0.2
"""A step that differs from the last one by a larger share is another step."""


class Habit:
    """The way a sensor reports.

    Attributes:
        usual_s: usual time between two reports, s.
    """

    __slots__ = ("_gaps", "_has_no_clock", "_irregular", "_repeats", "_reversals", "_step_c", "_uneven", "usual_s")

    def __init__(self) -> None:
        self._gaps = 0
        self.usual_s = 0.0
        self._has_no_clock = False
        self._irregular = self._repeats = self._reversals = self._uneven = self._step_c = 0.0

    def note(self, gap_s: float, step_c: float) -> None:
        """Take a report: time since the last one, s, and change of the value, K."""
        if gap_s < SOONEST_S:
            return
        self._gaps += 1
        share = max(LEAST_SHARE, 1.0 / self._gaps)
        if self._gaps == 1:
            self.usual_s = gap_s
        elif gap_s > LONGEST_GAP * self.usual_s:
            gap_s = LONGEST_GAP * self.usual_s
        distance = abs(gap_s / self.usual_s - 1.0)
        self._irregular += share * (distance - self._irregular)
        if step_c:
            self._repeats -= share * self._repeats
            self._reversals += share * ((step_c * self._step_c < 0) - self._reversals)
            change = abs(abs(step_c) / abs(self._step_c) - 1) if self._step_c else 0.0
            self._uneven += share * ((change > LEAST_CHANGE) - self._uneven)
            self._step_c = step_c
        elif distance <= 1.0:  # later, a repeated value may be a sign of life
            self._repeats += share * (1.0 - self._repeats)
        self.usual_s += share * (gap_s - self.usual_s)
        if self._gaps >= FEWEST_GAPS:  # until it repeats a value
            self._has_no_clock = self._repeats < REPEATS and (self._has_no_clock or self._irregular > IRREGULAR)

    @property
    def reports_changes_only(self) -> bool:
        """Whether it reports only changes: it never repeats a value, and its reports do not follow a clock.

        Reports at an interval also differ while the value rises or falls steadily, but not in both directions. Rare ones
        that only the steady change of a room could make so regular would be all one step apart.
        """
        if self._gaps < FEWEST_GAPS or self._repeats >= REPEATS:
            return False
        if self._has_no_clock:
            return True
        has_clock = self.usual_s > SHORTEST_ALLOWED_S and self._irregular < CLOCKWORK and self._uneven > UNEVEN
        return self._reversals < REVERSALS and not has_clock

    def allowed_s(self, noisy: bool) -> float:
        """Return the longest silence that does not mean failure, s.

        Args:
            noisy: whether noise changes nearly every value; then even a sensor that reports only changes reports often.
        """
        if not noisy and self.reports_changes_only:
            return ON_CHANGE_ALLOWED_S
        return max(SHORTEST_ALLOWED_S, MISSED * self.usual_s)
