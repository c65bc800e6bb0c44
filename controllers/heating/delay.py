"""The delay line of the candidate models: heat that the valve has let through and that has not arrived yet.

One record of the cumulative heat, with a column for each valve curve, serves all dead times.
"""

import numpy as np
from numpy.typing import NDArray

from controllers.heating.valve import EXPONENTS, SHARES

Array = NDArray[np.float64]

DEAD_TIMES_S = np.array([90.0, 300.0, 540.0, 780.0, 1020.0, 1260.0, 1500.0])
"""Dead times of the candidate models."""
MOST_ENTRIES = 40


class DelayLine:
    """Heat that entered the pipe, by time and valve curve, and what has left it after each dead time.

    Heat is counted in seconds of full heat. Between two entries, it is interpolated.

    Attributes:
        in_pipe_s: heat in transport, dead times × curves.
    """

    __slots__ = ("_count", "_heat_s", "_left_s", "_level", "_times_s", "in_pipe_s")

    def __init__(self, level: int = 0) -> None:
        """Start as if the valve had stood at a level, 0..100, for a long time."""
        self._times_s = np.zeros(MOST_ENTRIES)
        self._heat_s = np.zeros((MOST_ENTRIES, len(EXPONENTS)))
        self._times_s[0] = -2 * DEAD_TIMES_S[-1]
        self._heat_s[0] = SHARES[level] * self._times_s[0]
        self._count, self._level = 2, level
        self.in_pipe_s: Array = np.outer(DEAD_TIMES_S, SHARES[level])
        self._left_s: Array = -self.in_pipe_s

    def advance(self, level: int, dt_s: float) -> Array:
        """Let the valve stand at a level for some time; return the mean share of heat that has left the pipe.

        Args:
            level: valve level, 0..100.
            dt_s: length of that time, s, above 0.

        Returns:
            Dead times × curves, 0..1.
        """
        if level != self._level:
            self._append(level)
        last = self._count - 1
        self._times_s[last] += dt_s
        self._heat_s[last] += SHARES[level] * dt_s
        left_s = self._heat_at(self._times_s[last] - DEAD_TIMES_S)
        mean: Array = (left_s - self._left_s) / dt_s
        self._left_s = left_s
        self.in_pipe_s = self._heat_s[last] - left_s
        return mean

    def _append(self, level: int) -> None:
        if self._count == MOST_ENTRIES:
            self._remove()
        last, self._level = self._count - 1, level
        self._times_s[last + 1], self._heat_s[last + 1] = self._times_s[last], self._heat_s[last]
        self._count += 1

    def _remove(self) -> None:
        """Remove what has left the pipe after the longest dead time; if there is nothing, every second entry."""
        times_s = self._times_s[: self._count]
        first = int(times_s.searchsorted(times_s[-1] - 1.2 * DEAD_TIMES_S[-1])) - 1
        kept = np.arange(first, self._count) if first > 0 else np.append(np.arange(0, self._count - 1, 2), self._count - 1)
        self._count = len(kept)
        self._times_s[: self._count], self._heat_s[: self._count] = self._times_s[kept], self._heat_s[kept]

    def _heat_at(self, at_s: Array) -> Array:
        times_s = self._times_s[: self._count]
        after = times_s.searchsorted(at_s).clip(1, self._count - 1)
        before_s, before = times_s[after - 1], self._heat_s[after - 1]
        share = (at_s - before_s) / (times_s[after] - before_s)
        heat_s: Array = before + share[:, None] * (self._heat_s[after] - before)
        return heat_s
