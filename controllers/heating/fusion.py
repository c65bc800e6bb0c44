"""Sensor fusion: the room temperature from all sensors that can be trusted.

Each sensor's offset from the room temperature is learned, so that the fused value does not move when a sensor is added or
removed. The offsets of all known sensors are pulled slowly to a common centre of zero, the best estimate that sensors of
unknown offset allow. Sensors that disagree weigh less (a Cauchy-like weight), long before they are left out.
"""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from controllers.heating.sensor import DOUBT_C, LARGEST_OFFSET_C, MOST_SENSORS, Reason, Sensor
from controllers.heating.track import Track

REMOVED_AFTER_S = 6 * 3600.0
FIRST_AGREEMENT_C, AGREEMENT_C = 3.0, 1.2
"""Largest spread of a group of agreeing sensors, before and after their offsets have been learned."""
CLOSE_C, TIE_C = 0.5, 2.0
"""Of two otherwise equal groups, one must be this much denser, or nearer to the last room temperature. Otherwise the warmer
one is chosen, which is safer: at worst it heats too little."""
REJOIN_C = 0.7
"""A sensor that was left out as far is used again when it agrees this well with the room."""
OFFSET_DOUBT_C = 0.7
UNMOVED_S = 300.0
UNMOVED_C, UNMOVED_ALONE_C = 0.3, 1.0
"""A sensor that has not changed for this long, while the others moved this far beyond its resolution, is stuck."""
LIVELY_S = 900.0
SETTLING_S = 600.0
"""Time from the first reading in which no offsets are learned."""
CENTRING_S = 3600.0
FRESH_S = 90.0
"""Age from which a value weighs less."""
UNEXPECTED_C_S, MOST_UNEXPECTED_C = 1.0 / 300.0, 2.0
"""Movement that no trend foretold, K/s and K, by which values of different age may differ more."""
MEASURED_NOISE_C = 0.1
"""Standard deviation of a measurement by all sensors of a room."""
LARGEST_NOISE_C = 3.0
SHORTEST_QUIET_S = 90.0


@dataclass(frozen=True, slots=True)
class Fused:
    """The room temperature, and the sensors that it is based on."""

    room_c: float | None
    """°C; None without a trusted sensor."""
    used: tuple[str, ...]
    left_out: dict[str, Reason]
    unmoved_s: float
    """Time since any of the sensors used changed its value, s."""
    proven: bool
    """Whether any of the sensors used has ever changed its value."""
    quiet_c: float | None = None
    """Finest resolution of the sensors used, K, if all of them report only changes and none has lately; else None."""
    trend_c_s: float = 0.0
    """Trend of the room temperature, K/s."""
    rare: bool = False
    """Whether all sensors used report so rarely that an opened window is closed again before it is noticed."""
    measured_c: float | None = None
    """Room temperature by those sensors alone that have reported since the last call, °C; None without any."""
    noise_c: float = MEASURED_NOISE_C
    """Its standard deviation, K."""


def robust_centre(values: Sequence[float], doubt: float, weights: Sequence[float] | None = None) -> float:
    """Return a robust mean of one or more values: one step of iterated reweighting, starting from the median.

    Args:
        values: at least one.
        doubt: distance from the median at which a value weighs a quarter; in the unit of the values.
        weights: further weights, above 0; all 1 by default. The median does not follow them.
    """
    middle = statistics.median(values)
    shares = [(1 + ((value - middle) / doubt) ** 2) ** -2 for value in values]
    weights = shares if weights is None else [share * weight for share, weight in zip(shares, weights, strict=True)]
    return sum([weight * value for weight, value in zip(weights, values, strict=True)]) / sum(weights)


class Fusion:
    """The sensors of one room. Pure: time is an argument."""

    __slots__ = ("_fused_s", "_heard_s", "_room_c", "_room_s", "_sensors", "_started_s", "_track")

    def __init__(self) -> None:
        self._sensors: dict[str, Sensor] = {}
        self._started_s: float | None = None
        self._room_c: float | None = None
        self._room_s = self._heard_s = self._fused_s = 0.0
        self._track = Track()

    def read(self, name: str, value_c: float, now_s: float) -> bool:
        """Take a reading of a sensor; return False if the room has too many sensors already.

        Args:
            name: the sensor.
            value_c: °C, finite.
            now_s: plant time, s.
        """
        self._heard_s = now_s
        sensor = self._sensors.get(name)
        if sensor is not None:
            sensor.read(value_c, now_s)
            return True
        if len(self._sensors) >= MOST_SENSORS and not self._remove_stale(now_s):
            return False
        self._sensors[name] = Sensor(value_c, now_s)
        if self._started_s is None:
            self._started_s = now_s
        return True

    def _remove_stale(self, now_s: float) -> bool:
        name, sensor = min(self._sensors.items(), key=lambda item: item[1].last_reading_s)
        if sensor.fault(now_s) is Reason.STALE:
            del self._sensors[name]
        return len(self._sensors) < MOST_SENSORS

    def fuse(self, now_s: float) -> Fused:
        """Return the present room temperature, and learn the sensors' offsets."""
        since_s, self._fused_s = self._fused_s, now_s
        moved_c = self._track.advance(max(0.0, now_s - since_s))
        for each in self._sensors.values():
            each.carry(moved_c, since_s)
        for name in [name for name, each in self._sensors.items() if _is_forgotten(each, now_s)]:
            del self._sensors[name]
        left_out = {name: reason for name, each in self._sensors.items() if (reason := each.fault(now_s))}
        left_out |= dict.fromkeys(self._unmoved(left_out, now_s), Reason.STUCK)
        self._set_first_offsets([each for name, each in self._sensors.items() if name not in left_out], now_s)
        left_out |= dict.fromkeys(self._far(left_out, now_s), Reason.FAR)
        trusted = {name: each for name, each in self._sensors.items() if name not in left_out}
        measured_c, noise_c = None, MEASURED_NOISE_C
        if trusted:
            self._room_c = self._centre(trusted.values(), now_s)
            current = [each for each in trusted.values() if each.is_current(since_s)]
            if current:
                measured_c = self._centre(current, now_s)
                noise_c = self._noise_c(measured_c, len(current), trusted.values(), now_s)
                self._track.correct(measured_c, noise_c)
            self._note_gaps(self._room_c)
            self._learn(current, self._room_c, now_s)
            self._room_s = now_s
        return Fused(
            room_c=self._room_c if trusted else None,
            used=tuple(sorted(trusted)),
            left_out=left_out,
            unmoved_s=min((now_s - each.moved_s for each in trusted.values()), default=0.0),
            proven=any(each.proven for each in trusted.values()),
            quiet_c=self._quiet_c(trusted.values(), now_s),
            trend_c_s=self._track.trend_c_s,
            rare=bool(trusted) and all(each.reports_rarely for each in trusted.values()),
            measured_c=measured_c,
            noise_c=noise_c,
        )

    def _centre(self, sensors: Collection[Sensor], now_s: float) -> float:
        doubt_c = OFFSET_DOUBT_C if self._settling(now_s) else DOUBT_C
        return robust_centre([each.corrected_c for each in sensors], doubt_c, [_freshness(each, now_s) for each in sensors])

    def _noise_c(self, measured_c: float, count: int, sensors: Collection[Sensor], now_s: float) -> float:
        """Return the standard deviation of a measurement by a part of the sensors: more, the further it is from the others."""
        if count == len(sensors):
            return MEASURED_NOISE_C
        middle_c = statistics.median([each.corrected_c for each in sensors])
        doubt_c = DOUBT_C + min(MOST_UNEXPECTED_C, UNEXPECTED_C_S * statistics.median([each.age_s(now_s) for each in sensors]))
        trust = (1 + ((measured_c - middle_c) / doubt_c) ** 2) ** -2
        return min(LARGEST_NOISE_C, MEASURED_NOISE_C * math.sqrt(len(sensors) / count) / trust)

    def _quiet_c(self, trusted: Collection[Sensor], now_s: float) -> float | None:
        if now_s - self._heard_s <= SHORTEST_QUIET_S or not all(each.reports_changes_only for each in trusted):
            return None
        return min((each.resolution_c for each in trusted), default=None)

    def distrust(self, names: Sequence[str]) -> None:
        """Treat these sensors as stuck until they move: the room was heated, and they did not react."""
        for name in names:
            self._sensors[name].distrusted = True

    def _note_gaps(self, room_c: float) -> None:
        """Note how far each sensor was from the room temperature when it last moved: this much is no evidence against it."""
        for each in self._sensors.values():
            if each.moved_s > self._room_s:
                each.gap_c = each.corrected_c - room_c

    def _unmoved(self, left_out: dict[str, Reason], now_s: float) -> list[str]:
        """Return the sensors that stood still while others moved away from them."""
        candidates = {name: each for name, each in self._sensors.items() if name not in left_out}
        return [name for name, each in candidates.items() if _stood_still(each, candidates.values(), now_s)]

    def _far(self, left_out: dict[str, Reason], now_s: float) -> list[str]:
        """Return the sensors outside the most credible group."""
        values = {name: each.corrected_c for name, each in self._sensors.items() if name not in left_out}
        return self._outside(values, now_s) if values else []

    def _outside(self, values: dict[str, float], now_s: float) -> list[str]:
        width_c = FIRST_AGREEMENT_C if self._settling(now_s) else AGREEMENT_C
        width_c += min(MOST_UNEXPECTED_C, UNEXPECTED_C_S * max([self._sensors[name].age_s(now_s) for name in values]))
        groups = [{name: c for name, c in values.items() if low_c <= c <= low_c + width_c} for low_c in values.values()]
        group = max(groups, key=self._credit)
        middle_c = robust_centre(list(group.values()), OFFSET_DOUBT_C)
        back = [
            name for name, value_c in group.items() if not self._sensors[name].was_far or abs(value_c - middle_c) <= REJOIN_C
        ]
        far = [name for name in values if name not in (back or group)]
        for name in values:
            self._sensors[name].was_far = name in far
        return far

    def _credit(self, group: dict[str, float]) -> tuple[float, ...]:
        """Rank a group: most sensors that ever moved, most sensors, fewest that were far, densest, nearest, warmest."""
        sensors = [self._sensors[name] for name in group]
        distance_c = 0.0 if self._room_c is None else min([abs(value_c - self._room_c) for value_c in group.values()])
        return (
            sum([each.proven for each in sensors]),
            len(group),
            -sum([each.was_far for each in sensors]),
            -((max(group.values()) - min(group.values())) // CLOSE_C),
            -(distance_c // TIE_C),
            max(group.values()),
        )

    def _set_first_offsets(self, sensors: Collection[Sensor], now_s: float) -> None:
        """Give new sensors the offset that does not change the room temperature."""
        if self._settling(now_s):
            return
        known = self._room_c is not None and now_s - self._room_s <= SETTLING_S
        for each in sensors:
            if each.offset_c is None:
                offset_c = each.corrected_c - self._room_c if known and self._room_c is not None else 0.0
                each.offset_c = max(-LARGEST_OFFSET_C, min(LARGEST_OFFSET_C, offset_c))

    def _learn(self, current: Collection[Sensor], room_c: float, now_s: float) -> None:
        """Learn the offsets, ever more slowly, and pull them to a common centre of zero."""
        dt_s = min(SETTLING_S, now_s - self._room_s)
        if self._settling(now_s) or dt_s <= 0:
            return
        for each in current:
            if now_s - each.moved_s <= LIVELY_S:
                each.learn_offset(room_c, min(SETTLING_S, now_s - each.compared_s) if each.reports_rarely else dt_s)
            each.compared_s = now_s
        known = [each for each in self._sensors.values() if each.offset_c is not None and not each.was_far]
        centre_c = robust_centre([each.offset_c or 0.0 for each in known], OFFSET_DOUBT_C) if known else 0.0
        for each in known:
            each.offset_c = (each.offset_c or 0.0) - centre_c * dt_s / CENTRING_S

    def _settling(self, now_s: float) -> bool:
        return self._started_s is None or now_s - self._started_s < SETTLING_S


def _stood_still(sensor: Sensor, others: Collection[Sensor], now_s: float) -> bool:
    """Return whether a sensor kept its value while the moving ones moved away from it."""
    if sensor.just_moved or now_s - sensor.moved_s < UNMOVED_S:
        return False
    moving = [each for each in others if each.moved_s > sensor.moved_s and _is_lively(each, now_s)]
    moving = [each for each in moving if not each.was_far] or moving
    if not moving:
        return False
    single = len(moving) == 1 < len(others) - 1  # a single moving sensor among several still ones may be the one that drifts
    least_c = (UNMOVED_ALONE_C if single else UNMOVED_C) + sensor.resolution_c
    departed = [each for each in moving if abs(sensor.corrected_c - each.corrected_c - sensor.gap_c) > least_c]
    return len(departed) > len(moving) / 2


def _freshness(sensor: Sensor, now_s: float) -> float:
    """Return the weight of a value by its age."""
    return min(1.0, FRESH_S / max(1.0, sensor.age_s(now_s))) ** 2


def _is_forgotten(sensor: Sensor, now_s: float) -> bool:
    silent_s = now_s - sensor.last_reading_s
    return silent_s > REMOVED_AFTER_S and silent_s > sensor.allowed_silence_s + 3600.0


def _is_lively(sensor: Sensor, now_s: float) -> bool:
    """Return whether the value of a sensor that has moved is still good evidence."""
    return now_s - sensor.moved_s <= LIVELY_S or sensor.reports_changes_only
