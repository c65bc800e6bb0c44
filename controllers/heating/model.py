"""The model of a room: a bank of candidates, identified as the room is heated.

With T the room temperature, x the heat that the radiator emits (as a share of the steady state at a fully open valve),
u the valve level, f the curve of the valve and d the disturbance (`controllers/heating/disturbance.py`):

    dx/dt = (f(u(t - dead time)) - x) / lag        dT/dt = rate * x - leak * T + d

Candidates differ in dead time, valve curve and lag. They are linear in the rate, so one filter without the valve, which all
share, and for each candidate one for the effect of the valve only, give the best rate in closed form: a prediction error
method, as in Ljung, System Identification. The better a candidate has predicted, the more weight it has in the law.

Arrays have the shape dead times × curves × lags, or broadcast to it.
"""

import math
from dataclasses import dataclass

import numpy as np

from controllers.heating.delay import DEAD_TIMES_S, Array, DelayLine
from controllers.heating.disturbance import HOUR_S, LEAK_PER_S, READING_NOISE_C, TREND_S, DisturbanceFilter
from controllers.heating.valve import EXPONENTS, heat_share, level_for, slope

DEAD_S = DEAD_TIMES_S[:, None, None]
CURVE = np.array(EXPONENTS)[:, None]
LAG_S = np.array([240.0, 480.0, 840.0, 1440.0])
SHAPE = (len(DEAD_TIMES_S), len(EXPONENTS), len(LAG_S))

SLOWEST_RATE_C_S, FASTEST_RATE_C_S = 1.0 / HOUR_S, 300.0 / HOUR_S
FIRST_RATE_C_S = 20.0 / HOUR_S
PRIOR_INFORMATION = 1 / FIRST_RATE_C_S**2
FIRST_HOLD = 0.3
KNOWN_HOLD = 0.05
"""Uncertainty of an earlier run's hold level, as a share of full heat."""
LAG_PENALTY, DEAD_TIME_PENALTY, CURVE_PENALTY = 10.0, 5.0, 5.0
"""Penalty of a candidate that differs from an earlier run: per squared factor e, per squared `DEAD_TIME_STEP_S`, and per
squared exponent."""
DEAD_TIME_STEP_S = 240.0
UNKNOWN_CURVE_PENALTY = 1.0
"""States of earlier versions, which knew linear valves only, do not contain the curve."""
MOST_DISTURBANCE, LEAST_DISTURBANCE = 0.2, 0.1
"""Wander of the disturbance, as a share of the radiator's full effect, per square root of an hour, without dead time and from
`LONG_DEAD_TIME_S` on. A law that answers late cannot use a quick estimate: it would only move the valve more."""
LONG_DEAD_TIME_S = 600.0
SLOWEST_DISTURBED_C_S = 8.0 / HOUR_S
"""Least rate from which the wander of the disturbance follows. It must not shrink with a falling rate: walls that take up ever
more heat would then look like a valve without effect, the rate would fall further, and the law would swing the valve."""
LEAST_EFFECT_C, LATER_EFFECT_C = 0.01, 0.05
"""A prediction with a smaller effect of the valve is not learned from, at first and later. A room that is held gives little
to learn from: sun and people would teach more wrong than small movements of the valve teach right."""
SLOWEST_SEEN_C_S = 10.0 / HOUR_S
"""That effect counts as if the rate were at least this: nothing could correct one that was identified as too low."""
LATER_S = 2 * HOUR_S
"""Does not hold for sensors that report rarely: their prediction errors are large anyway."""
MEMORY_S, FULL_EFFECT_C = 3 * HOUR_S, 0.1
"""Time constant by which evidence fades while the valve has an effect of this size. With less to learn, less is forgotten."""
CURVE_PRIOR = 0.2
"""Penalty of a valve curve per squared exponent: without evidence, a valve is linear."""
OUTLIER_SHARE, LATER_OUTLIER_SHARE = 0.1, 0.5
"""Share of a prediction error by which it counts as noise; later, a large one is a window rather than the valve."""
SHARPNESS = 0.3
"""Rate at which a candidate loses weight as it predicts worse; below one half, since errors are not white."""
LONGEST_STEP_S = 120.0
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class Identified:
    """Identified parameters of a room."""

    rate_c_h: float
    """Rise of the room temperature at full heat if nothing were lost, K/h."""
    radiator_lag_s: float
    transport_s: float
    """Dead time from the valve to the radiator."""
    hold_pct: float
    """Valve level that would hold the setpoint under the present disturbance; may lie outside 0..100."""
    valve_curve: float | None = None
    """Exponent of the valve curve; None if it is unknown."""


@dataclass(frozen=True, slots=True)
class Beliefs:
    """State estimated by every candidate."""

    weight: Array
    """They add up to 1."""
    rate_c_s: Array
    doubt_c_s: Array
    """Standard deviation of the rate."""
    room_c: Array
    hold: Array
    """Share of heat that would hold the setpoint."""
    hold_trend_s: Array
    """Its change per second."""
    heat: Array
    """Share of heat that the radiator emits."""
    in_pipe_s: Array
    """Heat in transport, in seconds of full heat."""

    def mean(self, value: Array) -> float:
        """Return the weighted mean of a value over the candidates."""
        return float((self.weight * value).sum())

    @property
    def felt_s(self) -> float:
        """Mean time until a level is felt: dead time and lag, s."""
        return self.mean(DEAD_S + LAG_S)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Copy of the estimates and the evidence of a model."""

    filter_state: tuple[float, float, float]
    arrays: tuple[Array, ...]


class RoomModel:
    """The candidates of one room.

    Attributes:
        started: whether it has been started.
        rate_c_s: mean rate of the candidates, K/s.
        innovation_c: last measurement less the best candidate's prediction, K; 0 without a measurement.
    """

    __slots__ = (
        "_cost",
        "_dead_s",
        "_delay",
        "_effect_c",
        "_effect_drift",
        "_effect_square_sum",
        "_effect_trend",
        "_error_effect_sum",
        "_filter",
        "_heat",
        "_penalty",
        "_prior_c_s",
        "_rate_c_s",
        "_running_s",
        "_step",
        "_unmeasured_s",
        "innovation_c",
        "rate_c_s",
        "started",
    )  # fmt: skip

    def __init__(self) -> None:
        self._filter, self._delay = DisturbanceFilter(), DelayLine()
        self._heat: Array = np.zeros(SHAPE)
        # effect of the valve on the filter's three states, per unit of rate
        self._effect_c, self._effect_drift, self._effect_trend = np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE)
        self._error_effect_sum, self._effect_square_sum = np.zeros(SHAPE), np.zeros(SHAPE)
        self._prior_c_s: Array = np.full((len(EXPONENTS), 1), FIRST_RATE_C_S)
        self._penalty: Array | float = CURVE_PRIOR * CURVE**2
        self._step = _Step(60.0)
        self._rate_c_s, self._cost = self._fit()
        self.rate_c_s, self._dead_s = FIRST_RATE_C_S, LONG_DEAD_TIME_S
        self._running_s = self._unmeasured_s = 0.0
        self.innovation_c = 0.0
        self.started = False

    def start(self, room_c: float, setpoint_c: float, level_pct: float, identified: Identified | None = None) -> None:
        """Start, also after a restart, as if the valve had stood at `level_pct` for a long time.

        Args:
            room_c: room temperature, °C.
            setpoint_c: setpoint, °C.
            level_pct: valve level until now, 0..100.
            identified: parameters identified by an earlier run, if any.
        """
        self.started = True
        self._delay = DelayLine(round(level_pct))
        self._heat[:] = self._delay.in_pipe_s[:, :, None] / DEAD_S
        if identified:
            self._continue(room_c, setpoint_c, identified)
        else:
            hold = level_pct / 100 or (FIRST_HOLD if room_c < setpoint_c else 0.0)
            self._filter = DisturbanceFilter(room_c, LEAK_PER_S * setpoint_c - hold * FIRST_RATE_C_S)
        self._rate_c_s, self._cost = self._fit()

    def _continue(self, room_c: float, setpoint_c: float, identified: Identified) -> None:
        """Start with what an earlier run identified: every candidate gets the same effect of the valve where it stood."""
        curve, hold = identified.valve_curve or 0.0, identified.hold_pct / 100
        inside = min(1.0, max(0.0, hold))
        self.rate_c_s = _limited(identified.rate_c_h / HOUR_S)
        effect_c_s = self.rate_c_s * slope(inside, curve)
        self._prior_c_s = np.array([[_limited(effect_c_s / slope(inside, each))] for each in EXPONENTS])
        known_c_s = heat_share(hold, curve) * self.rate_c_s
        self._filter = DisturbanceFilter(room_c, LEAK_PER_S * setpoint_c - known_c_s, KNOWN_HOLD * self.rate_c_s)
        holds = np.array([[heat_share(hold, each)] for each in EXPONENTS])
        self._effect_drift[:] = known_c_s / self._prior_c_s - holds
        self._effect_square_sum[:] = (3 / self._prior_c_s) ** 2
        self._error_effect_sum[:] = self._effect_square_sum * self._prior_c_s
        curve_penalty = UNKNOWN_CURVE_PENALTY if identified.valve_curve is None else CURVE_PENALTY
        lags = np.log(LAG_S / max(60.0, identified.radiator_lag_s))
        dead_times = (DEAD_S - identified.transport_s) / DEAD_TIME_STEP_S
        curves = CURVE - curve
        self._penalty = LAG_PENALTY * lags**2 + DEAD_TIME_PENALTY * dead_times**2 + curve_penalty * curves**2

    def advance(self, level_pct: float, dt_s: float, room_c: float | None, noise_c: float = READING_NOISE_C) -> None:
        """Advance the time with the valve at a level; then take a measurement, if there is one.

        Args:
            level_pct: valve level during that time, 0..100.
            dt_s: length of that time, s, above 0.
            room_c: measured room temperature, °C, or None.
            noise_c: standard deviation of the measurement, K.
        """
        if not self.started or dt_s <= 0:
            return
        self._running_s += dt_s
        self._unmeasured_s += dt_s
        pieces = max(1, math.ceil(dt_s / LONGEST_STEP_S))
        quick = max(0.0, 1 - self._dead_s / LONG_DEAD_TIME_S)
        share = LEAST_DISTURBANCE + (MOST_DISTURBANCE - LEAST_DISTURBANCE) * quick
        disturbed_c_s = share * max(self.rate_c_s, SLOWEST_DISTURBED_C_S)
        wander = disturbed_c_s**2 * dt_s / pieces / HOUR_S
        for _ in range(pieces):
            self._predict(round(level_pct), dt_s / pieces, wander)
        self.innovation_c = 0.0
        if room_c is not None:
            self._correct(room_c, noise_c)
            self._unmeasured_s = 0.0

    def _predict(self, level: int, dt_s: float, wander: float) -> None:
        if dt_s != self._step.dt_s:
            self._step = _Step(dt_s)
        sent = self._delay.advance(level, dt_s)[:, :, None]
        above = self._heat - sent
        self._effect_c += dt_s * (self._effect_drift + sent + above * self._step.mean - LEAK_PER_S * self._effect_c)
        self._effect_drift += dt_s * self._effect_trend
        self._effect_trend *= self._step.stay
        self._heat = sent + above * self._step.decay
        self._filter.advance(dt_s, wander)

    def _correct(self, room_c: float, noise_c: float) -> None:
        error_c, (gain, drift_gain, trend_gain) = self._filter.correct(room_c, noise_c)
        error_effect = self._effect_c.copy()
        self._effect_c -= gain * error_effect
        self._effect_drift -= drift_gain * error_effect
        self._effect_trend -= trend_gain * error_effect
        self._learn(error_c, error_effect, noise_c)

    def _learn(self, error_c: float, error_effect: Array, noise_c: float) -> None:
        best = int(self._cost.argmin())
        rate_c_s = float(self._rate_c_s.flat[best])
        effect_c = float(error_effect.flat[best]) * rate_c_s
        self.innovation_c = error_c - effect_c
        seen_c = abs(effect_c) * max(1.0, SLOWEST_SEEN_C_S / rate_c_s)
        is_later = self._running_s > LATER_S and self._unmeasured_s <= LONGEST_STEP_S
        if seen_c < (LATER_EFFECT_C if is_later else LEAST_EFFECT_C):
            return
        outlier_share = LATER_OUTLIER_SHARE if is_later else OUTLIER_SHARE
        weight = 1 / (noise_c**2 + outlier_share * self.innovation_c**2)
        keep = math.exp(-self._unmeasured_s / MEMORY_S * min(1.0, abs(effect_c) / FULL_EFFECT_C))
        self._error_effect_sum *= keep
        self._error_effect_sum += weight * error_c * error_effect
        self._effect_square_sum *= keep
        self._effect_square_sum += weight * error_effect**2
        self._prior_c_s += (self.rate_c_s - self._prior_c_s) * (1 - keep)
        self._rate_c_s, self._cost = self._fit()

    def _fit(self) -> tuple[Array, Array]:
        """Return every candidate's most likely rate, K/s, and its squared prediction errors in units of their noise."""
        evidence = self._error_effect_sum + PRIOR_INFORMATION * self._prior_c_s
        rate = evidence / (self._effect_square_sum + PRIOR_INFORMATION)
        rate = np.minimum(FASTEST_RATE_C_S, np.maximum(SLOWEST_RATE_C_S, rate))
        explained = rate * (rate * self._effect_square_sum - 2 * self._error_effect_sum)
        cost: Array = explained + PRIOR_INFORMATION * (rate - self._prior_c_s) ** 2 + self._penalty
        return rate, cost

    def beliefs(self, setpoint_c: float) -> Beliefs:
        """Return every candidate's belief, with the hold level for this setpoint, °C."""
        rate = self._rate_c_s
        weight = np.exp(np.maximum(-60.0, SHARPNESS * (self._cost.min() - self._cost)))
        weight /= weight.sum()
        self.rate_c_s, self._dead_s = float((weight * rate).sum()), float((weight * DEAD_S).sum())
        return Beliefs(
            weight=weight,
            rate_c_s=rate,
            doubt_c_s=1 / np.sqrt(self._effect_square_sum + PRIOR_INFORMATION),
            room_c=self._filter.room_c + rate * self._effect_c,
            hold=(LEAK_PER_S * setpoint_c - self._filter.drift_c_s) / rate - self._effect_drift,
            hold_trend_s=-self._filter.trend_c_s2 / rate - self._effect_trend,
            heat=self._heat,
            in_pipe_s=self._delay.in_pipe_s[:, :, None],
        )

    def knowledge(self) -> Knowledge:
        """Copy the estimates and the evidence of the candidates, for `restore`."""
        arrays = (self._effect_c, self._effect_drift, self._effect_trend, self._error_effect_sum, self._effect_square_sum)
        kept = self._filter
        return Knowledge((kept.room_c, kept.drift_c_s, kept.trend_c_s2), tuple(each.copy() for each in arrays))

    def restore(self, knowledge: Knowledge) -> None:
        """Restore earlier knowledge; the heat of the radiator stays."""
        self._filter.room_c, self._filter.drift_c_s, self._filter.trend_c_s2 = knowledge.filter_state
        effect_c, effect_drift, effect_trend, error_effect_sum, effect_square_sum = knowledge.arrays
        self._effect_c, self._effect_drift, self._effect_trend = effect_c.copy(), effect_drift.copy(), effect_trend.copy()
        self._error_effect_sum, self._effect_square_sum = error_effect_sum.copy(), effect_square_sum.copy()
        self._rate_c_s, self._cost = self._fit()

    def set_room_temperature(self, room_c: float) -> None:
        """Set every candidate's room temperature, and nothing else."""
        self._effect_c = (room_c - self._filter.room_c) / self._rate_c_s


class _Step:
    """Constants of a step, which depend on its length only."""

    __slots__ = ("decay", "dt_s", "mean", "stay")

    def __init__(self, dt_s: float) -> None:
        self.dt_s = dt_s
        self.decay = np.array([math.exp(-dt_s / each) for each in LAG_S])
        self.mean = (1 - self.decay) * LAG_S / dt_s
        self.stay = 1.0 - dt_s / TREND_S


def _limited(rate_c_s: float) -> float:
    return min(FASTEST_RATE_C_S, max(SLOWEST_RATE_C_S, rate_c_s))


def by_curve(weight: Array, value: Array) -> list[tuple[float, float, float]]:
    """Return exponent, weight and weighted mean of a value for every valve curve that has weight."""
    weights = weight.sum(axis=(0, 2)).tolist()
    sums = (weight * value).sum(axis=(0, 2)).tolist()
    curves = zip(EXPONENTS, weights, sums, strict=True)
    return [(exponent, share, total / share) for exponent, share, total in curves if share > LEAST_WEIGHT]


def identified(beliefs: Beliefs) -> Identified:
    """Return the weighted mean of the candidates' parameters, with the rate that has their mean effect at the hold level."""
    curve = beliefs.mean(CURVE)
    holds = by_curve(beliefs.weight, beliefs.hold)
    level = sum([share * level_for(hold, each) for each, share, hold in holds])
    inside = min(1.0, max(0.0, level))
    rates = by_curve(beliefs.weight, beliefs.rate_c_s)
    effect_c_s = sum([share * rate * slope(inside, each) for each, share, rate in rates])
    return Identified(
        rate_c_h=HOUR_S * _limited(effect_c_s / slope(inside, curve)),
        radiator_lag_s=beliefs.mean(LAG_S),
        transport_s=beliefs.mean(DEAD_S),
        hold_pct=100 * level,
        valve_curve=curve,
    )
