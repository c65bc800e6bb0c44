"""The present movement of a room, from its sensors alone: a Kalman filter of its temperature and trend.

Sensors that report rarely do not report together. With the trend, their values of different age become values of now. It knows
nothing of the valve, so that it cannot confirm a wrong model.
"""

UNEXPECTED_C_S = 5.0 / 3600.0
UNEXPECTED_AFTER_S = 600.0
"""Standard deviation of the unexpected change of the trend, K/s, and the time for it."""
WANDER = UNEXPECTED_C_S**2 / UNEXPECTED_AFTER_S
FADING_S = 1800.0
"""Time constant by which a trend fades."""


class Track:
    """The filter.

    Attributes:
        trend_c_s: estimated trend, K/s.
    """

    __slots__ = ("_covariance", "_room_c", "trend_c_s")

    def __init__(self) -> None:
        self._room_c: float | None = None
        self.trend_c_s = 0.0
        self._covariance = (0.0, 0.0, 0.0)

    def advance(self, dt_s: float) -> float:
        """Predict `dt_s` seconds ahead; return the movement, K."""
        if self._room_c is None:
            return 0.0
        moved_c, stay = self.trend_c_s * dt_s, max(0.0, 1 - dt_s / FADING_S)
        self._room_c += moved_c
        self.trend_c_s *= stay
        p00, p01, p11 = self._covariance
        self._covariance = (
            p00 + 2 * dt_s * p01 + dt_s * dt_s * p11,
            stay * (p01 + dt_s * p11),
            stay * stay * p11 + WANDER * dt_s,
        )
        return moved_c

    def correct(self, room_c: float, noise_c: float) -> None:
        """Correct the prediction by a measurement, °C, with its standard deviation, K."""
        if self._room_c is None:
            self._room_c, self._covariance = room_c, (noise_c**2, 0.0, 0.0)
            return
        p00, p01, p11 = self._covariance
        total = p00 + noise_c**2
        error_c = room_c - self._room_c
        self._room_c += p00 / total * error_c
        self.trend_c_s += p01 / total * error_c
        self._covariance = (p00 - p00 * p00 / total, p01 - p00 * p01 / total, p11 - p01 * p01 / total)
