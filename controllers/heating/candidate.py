"""One candidate model of a room, with its filters and its evidence.

With T the room temperature, x the heat that the radiator emits (as a share of the steady state at a fully open valve),
w the heat in transport, and u the valve level as a share:

    dw/dt = (u - w) / transport        dx/dt = (w - x) / lag
    dT/dt = rate * x - leak * T + disturbance

The disturbance (weather, sun, people, the structure behind the air) is a random walk that a Kalman filter follows: this is the
integral action of the law. Candidates differ in transport and lag. The rate is identified by least squares on the
filter's prediction errors. They are linear in the rate, so two filters, one without the valve and one for the effect of the
valve only, give the best rate in closed form: a prediction error method, as in Ljung, System Identification. Both have the
ordinary covariance of a Kalman filter with the states T and disturbance.
"""

import math

HOUR_S = 3600.0
LEAK_PER_S = 1.0 / HOUR_S
"""Heat loss of the air to its surroundings; the disturbance compensates for a wrong value."""
READING_NOISE_C = 0.10
FIRST_DRIFT_C_S = 10.0 / HOUR_S
SLOWEST_RATE_C_S, FASTEST_RATE_C_S = 1.0 / HOUR_S, 300.0 / HOUR_S
MIXING_C_PER_ROOT_HOUR = 0.04


class Candidate:
    """One model: a radiator lag and a transport time, with its filters and its evidence."""

    __slots__ = (
        "covariance",
        "drift_c_s",
        "effect_c",
        "effect_drift",
        "effect_square_sum",
        "error_c",
        "error_effect",
        "error_effect_sum",
        "error_square_sum",
        "free_c",
        "heat",
        "lag_s",
        "sent",
        "transport_s",
    )  # fmt: skip

    def __init__(self, lag_s: float, transport_s: float) -> None:
        self.lag_s, self.transport_s = lag_s, transport_s
        self.heat = self.sent = 0.0
        self.free_c = self.drift_c_s = 0.0  # filter without the valve: T and disturbance
        self.effect_c = self.effect_drift = 0.0  # filter for the effect of the valve, per unit of rate
        self.error_c = self.error_effect = 0.0
        self.error_square_sum = self.error_effect_sum = self.effect_square_sum = 0.0
        self.covariance = (READING_NOISE_C**2, 0.0, FIRST_DRIFT_C_S**2)

    def advance(self, level: float, dt_s: float, wander: float) -> None:
        """Predict `dt_s` seconds ahead; `wander` is the increase of the disturbance's variance, (K/s)²."""
        sent = _lag(self.sent, level, dt_s, self.transport_s)
        self.sent, sent_mean = sent
        self.heat, heat_mean = _lag(self.heat, sent_mean, dt_s, self.lag_s)
        keep = 1.0 - LEAK_PER_S * dt_s
        self.free_c = keep * self.free_c + dt_s * self.drift_c_s
        self.effect_c = keep * self.effect_c + dt_s * (self.effect_drift + heat_mean)
        p00, p01, p11 = self.covariance
        p00 = keep * keep * p00 + 2 * keep * dt_s * p01 + dt_s * dt_s * p11 + MIXING_C_PER_ROOT_HOUR**2 * dt_s / HOUR_S
        self.covariance = (p00, keep * p01 + dt_s * p11, p11 + wander)

    def correct(self, room_c: float) -> None:
        """Correct the prediction by a measurement; keep the prediction error and its part that is due to the valve."""
        p00, p01, p11 = self.covariance
        gain, drift_gain = p00 / (p00 + READING_NOISE_C**2), p01 / (p00 + READING_NOISE_C**2)
        self.covariance = (p00 - gain * p00, p01 - gain * p01, p11 - drift_gain * p01)
        self.error_c, self.error_effect = room_c - self.free_c, self.effect_c
        self.free_c += gain * self.error_c
        self.drift_c_s += drift_gain * self.error_c
        self.effect_c -= gain * self.error_effect
        self.effect_drift -= drift_gain * self.error_effect

    def learn(self, weight: float, keep: float) -> None:
        """Add the last prediction error to the evidence with a weight; scale earlier evidence by `keep`."""
        self.error_square_sum = keep * self.error_square_sum + weight * self.error_c**2
        self.error_effect_sum = keep * self.error_effect_sum + weight * self.error_c * self.error_effect
        self.effect_square_sum = keep * self.effect_square_sum + weight * self.error_effect**2

    def rate(self, prior: float, prior_information: float) -> float:
        """Return the most likely rate, K/s, given a prior with its information, 1/(K/s)²."""
        evidence = self.error_effect_sum + prior_information * prior
        most_likely = evidence / (self.effect_square_sum + prior_information)
        return min(FASTEST_RATE_C_S, max(SLOWEST_RATE_C_S, most_likely))

    def cost(self, rate: float, prior: float, prior_information: float) -> float:
        """Return the squared prediction errors with this rate, in units of their noise."""
        explained = rate * (rate * self.effect_square_sum - 2 * self.error_effect_sum)
        return self.error_square_sum + explained + prior_information * (rate - prior) ** 2


def _lag(value: float, target: float, dt_s: float, time_constant_s: float) -> tuple[float, float]:
    """Return a first-order lag's value after `dt_s` and its mean until then."""
    decay = math.exp(-dt_s / time_constant_s)
    return target + (value - target) * decay, target + (value - target) * (1 - decay) * time_constant_s / dt_s
