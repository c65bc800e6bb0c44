"""The model of a room: a small bank of candidates, identified as the room is heated.

They differ in radiator lag and transport time. The better a candidate has predicted, the more weight it has in the law.
"""

import math
from dataclasses import dataclass

from controllers.heating.candidate import (
    FASTEST_RATE_C_S,
    HOUR_S,
    LEAK_PER_S,
    READING_NOISE_C,
    SLOWEST_RATE_C_S,
    Candidate,
)

RADIATOR_LAGS_S = (5 * 60.0, 11 * 60.0, 24 * 60.0)
TRANSPORTS_S = (60.0, 300.0)
FIRST_RATE_C_S = 20.0 / HOUR_S
FIRST_HOLD = 0.3
KNOWN_HOLD = 0.05
"""Uncertainty of an earlier run's hold level, as a share of full heat."""
DISTURBANCE_PER_ROOT_HOUR = 0.2
"""Wander of the disturbance, as a share of the radiator's full effect, per square root of an hour."""
SLOWEST_DISTURBED_C_S = 8.0 / HOUR_S
"""Least rate from which the wander of the disturbance follows. It must not shrink with a falling rate: walls that take up ever
more heat would then look like a valve without effect, the rate would fall further, and the law would swing the valve."""
LEAST_EFFECT_C = 0.01
"""A prediction with a smaller effect of the valve is not learned from."""
MEMORY_S = 3 * HOUR_S
"""Time constant by which evidence fades, counted only while there is an effect of the valve to learn from."""
OUTLIER_SHARE = 0.1
SHARPNESS = 0.3
"""Rate at which a candidate loses weight as it predicts worse; below one half, since errors are not white."""
LONGEST_STEP_S = 120.0


@dataclass(frozen=True, slots=True)
class Identified:
    """Identified parameters of a room."""

    rate_c_h: float
    """Rise of the room temperature at full heat if nothing were lost, K/h."""
    radiator_lag_s: float
    transport_s: float
    hold_pct: float
    """Valve level that would hold the setpoint under the present disturbance; may lie outside 0..100."""


@dataclass(frozen=True, slots=True)
class Belief:
    """State estimated by one candidate, with its weight among the candidates (weights add up to 1)."""

    weight: float
    rate_c_s: float
    room_c: float
    hold: float
    """Share of heat that would hold the setpoint."""
    heat: float
    sent: float
    lag_s: float
    transport_s: float


Knowledge = tuple[tuple[float, ...], ...]


class RoomModel:
    """The candidates of one room.

    Attributes:
        started: whether it has been started.
        rate_c_s: mean rate of the candidates, K/s.
        innovation_c: last measurement less the best candidate's prediction, K.
    """

    __slots__ = ("_candidates", "_prior_c_s", "_prior_information", "innovation_c", "rate_c_s", "started")

    def __init__(self) -> None:
        self._candidates = [Candidate(lag_s, transport_s) for lag_s in RADIATOR_LAGS_S for transport_s in TRANSPORTS_S]
        self._prior_c_s = self.rate_c_s = FIRST_RATE_C_S
        self._prior_information = 1 / FIRST_RATE_C_S**2
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
        if identified:
            self._prior_c_s = self.rate_c_s = min(FASTEST_RATE_C_S, max(SLOWEST_RATE_C_S, identified.rate_c_h / HOUR_S))
        first_hold = FIRST_HOLD if room_c < setpoint_c else 0.0
        hold = identified.hold_pct / 100 if identified else level_pct / 100 or first_hold
        for each in self._candidates:
            each.heat = each.sent = level_pct / 100
            each.free_c = room_c
            each.drift_c_s = LEAK_PER_S * setpoint_c - hold * self.rate_c_s
            if identified:
                self._apply_prior(each, identified)

    def _apply_prior(self, candidate: Candidate, identified: Identified) -> None:
        """Give a candidate evidence for the identified rate, known to a third, and a penalty for another lag."""
        candidate.effect_square_sum = (3 / self.rate_c_s) ** 2
        candidate.error_effect_sum = candidate.effect_square_sum * self.rate_c_s
        lags = abs(math.log(candidate.lag_s / max(60.0, identified.radiator_lag_s)))
        transports = abs(math.log(candidate.transport_s / max(30.0, identified.transport_s)))
        candidate.error_square_sum = 9.0 + 20 * lags + 5 * transports
        candidate.covariance = (READING_NOISE_C**2, 0.0, (KNOWN_HOLD * self.rate_c_s) ** 2)

    def advance(self, level_pct: float, dt_s: float, room_c: float | None) -> None:
        """Advance the time with the valve at a level; then take a measurement, if there is one.

        Args:
            level_pct: valve level during that time, 0..100.
            dt_s: length of that time, s, above 0.
            room_c: room temperature at its end, °C, or None.
        """
        if not self.started or dt_s <= 0:
            return
        pieces = max(1, math.ceil(dt_s / LONGEST_STEP_S))
        piece_s = dt_s / pieces
        disturbed_c_s = DISTURBANCE_PER_ROOT_HOUR * max(self.rate_c_s, SLOWEST_DISTURBED_C_S)
        wander = disturbed_c_s**2 * piece_s / HOUR_S
        for each in self._candidates:
            for _ in range(pieces):
                each.advance(level_pct / 100, piece_s, wander)
            if room_c is not None:
                each.correct(room_c)
        if room_c is not None:
            self._learn(dt_s)

    def _learn(self, dt_s: float) -> None:
        best = min(self._candidates, key=self._cost)
        effect_c = best.error_effect * self.rate_c_s
        self.innovation_c = best.error_c - effect_c
        if abs(effect_c) < LEAST_EFFECT_C:
            return
        weight = 1 / (READING_NOISE_C**2 + OUTLIER_SHARE * self.innovation_c**2)
        keep = math.exp(-dt_s / MEMORY_S)
        for each in self._candidates:
            each.learn(weight, keep)
        self._prior_c_s += (self.rate_c_s - self._prior_c_s) * (1 - keep)

    def _cost(self, candidate: Candidate) -> float:
        return candidate.cost(self._rate(candidate), self._prior_c_s, self._prior_information)

    def _rate(self, candidate: Candidate) -> float:
        return candidate.rate(self._prior_c_s, self._prior_information)

    def beliefs(self, setpoint_c: float) -> list[Belief]:
        """Return every candidate's belief, with the hold level for this setpoint, °C."""
        costs = [self._cost(each) for each in self._candidates]
        least = min(costs)
        weights = [math.exp(-min(60.0, SHARPNESS * (cost - least))) for cost in costs]
        total = sum(weights)
        beliefs = [
            self._belief(each, weight / total, setpoint_c) for each, weight in zip(self._candidates, weights, strict=True)
        ]
        self.rate_c_s = sum([each.weight * each.rate_c_s for each in beliefs])
        return beliefs

    def _belief(self, candidate: Candidate, weight: float, setpoint_c: float) -> Belief:
        rate = self._rate(candidate)
        drift_c_s = candidate.drift_c_s + rate * candidate.effect_drift
        return Belief(
            weight=weight,
            rate_c_s=rate,
            room_c=candidate.free_c + rate * candidate.effect_c,
            hold=(LEAK_PER_S * setpoint_c - drift_c_s) / rate,
            heat=candidate.heat,
            sent=candidate.sent,
            lag_s=candidate.lag_s,
            transport_s=candidate.transport_s,
        )

    def knowledge(self) -> Knowledge:
        """Copy the estimates and the evidence of the candidates, for `restore`."""
        return tuple(
            (c.free_c, c.drift_c_s, c.effect_c, c.effect_drift, c.error_square_sum, c.error_effect_sum, c.effect_square_sum)
            for c in self._candidates
        )

    def restore(self, knowledge: Knowledge) -> None:
        """Restore earlier knowledge; the heat of the radiator stays."""
        for c, known in zip(self._candidates, knowledge, strict=True):
            c.free_c, c.drift_c_s, c.effect_c, c.effect_drift = known[:4]
            c.error_square_sum, c.error_effect_sum, c.effect_square_sum = known[4:]

    def set_room_temperature(self, room_c: float) -> None:
        """Set every candidate's room temperature, and nothing else."""
        for each in self._candidates:
            each.free_c = room_c - self._rate(each) * each.effect_c


def identified(beliefs: list[Belief]) -> Identified:
    """Return the weighted mean of the candidates' parameters."""
    return Identified(
        rate_c_h=HOUR_S * sum([each.weight * each.rate_c_s for each in beliefs]),
        radiator_lag_s=sum([each.weight * each.lag_s for each in beliefs]),
        transport_s=sum([each.weight * each.transport_s for each in beliefs]),
        hold_pct=100 * sum([each.weight * each.hold for each in beliefs]),
    )
