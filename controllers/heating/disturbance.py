"""The Kalman filter of a room: its temperature and all heat that does not come from the valve.

With T the room temperature, d the disturbance (weather, sun, people, walls that take up heat) and s its trend:

    dT/dt = d - leak * T        dd/dt = s        ds/dt = -s / TREND_S

each with a random walk. Its gains do not depend on the valve, so all candidate models share one filter.
"""

HOUR_S = 3600.0
LEAK_PER_S = 1.0 / HOUR_S
"""Heat loss of the air to its surroundings; the disturbance compensates for a wrong value."""
READING_NOISE_C = 0.1
MIXING_C_PER_ROOT_HOUR = 0.04
FIRST_DRIFT_C_S = 10.0 / HOUR_S
TREND_S = HOUR_S
"""Time constant by which a trend fades."""
TREND_SHARE_PER_S = 1.0 / HOUR_S
"""Wander of the trend, as a share of the wander of the disturbance per second."""

Gains = tuple[float, float, float]


class DisturbanceFilter:
    """The filter, for a room without a valve.

    Attributes:
        room_c: estimated room temperature, °C.
        drift_c_s: estimated disturbance, K/s.
        trend_c_s2: its trend, K/s².
    """

    __slots__ = ("_covariance", "drift_c_s", "room_c", "trend_c_s2")

    def __init__(self, room_c: float = 0.0, drift_c_s: float = 0.0, drift_doubt_c_s: float = FIRST_DRIFT_C_S) -> None:
        """Start from a room temperature, °C, and a disturbance with its standard deviation, K/s."""
        self.room_c, self.drift_c_s, self.trend_c_s2 = room_c, drift_c_s, 0.0
        self._covariance = (READING_NOISE_C**2, 0.0, 0.0, drift_doubt_c_s**2, 0.0, 0.0)

    def advance(self, dt_s: float, wander: float) -> None:
        """Predict `dt_s` seconds ahead; `wander` is the increase of the disturbance's variance, (K/s)²."""
        keep, stay = 1.0 - LEAK_PER_S * dt_s, 1.0 - dt_s / TREND_S
        self.room_c = keep * self.room_c + dt_s * self.drift_c_s
        self.drift_c_s += dt_s * self.trend_c_s2
        self.trend_c_s2 *= stay
        p00, p01, p02, p11, p12, p22 = self._covariance
        ahead01, ahead11, ahead12 = p01 + dt_s * p02, p11 + dt_s * p12, p12 + dt_s * p22
        self._covariance = (
            keep * (keep * p00 + 2 * dt_s * p01) + dt_s * dt_s * p11 + MIXING_C_PER_ROOT_HOUR**2 * dt_s / HOUR_S,
            keep * ahead01 + dt_s * ahead11,
            stay * (keep * p02 + dt_s * p12),
            ahead11 + dt_s * ahead12 + wander,
            stay * ahead12,
            stay * stay * p22 + wander * TREND_SHARE_PER_S**2,
        )

    def correct(self, room_c: float, noise_c: float = READING_NOISE_C) -> tuple[float, Gains]:
        """Correct the prediction by a measurement, °C, and its standard deviation; return prediction error, K, and gains."""
        p00, p01, p02, p11, p12, p22 = self._covariance
        total = p00 + noise_c**2
        gain, drift_gain, trend_gain = p00 / total, p01 / total, p02 / total
        self._covariance = (
            p00 - gain * p00,
            p01 - gain * p01,
            p02 - gain * p02,
            p11 - drift_gain * p01,
            p12 - drift_gain * p02,
            p22 - trend_gain * p02,
        )
        error_c = room_c - self.room_c
        self.room_c += gain * error_c
        self.drift_c_s += drift_gain * error_c
        self.trend_c_s2 += trend_gain * error_c
        return error_c, (gain, drift_gain, trend_gain)
