"""Heat that does not arrive: the source is switched off, or the valve is stuck.

A room that was held, gets colder, and gets more heat than held it before, has either lost its heat or needs more. In the
first case the heat that would hold it, as the model estimates it, rises by as much heat as the valve gives. Then nothing can
be learned.
"""

import math

NEAR_C = 0.4
"""A room not further below its setpoint is held."""
SWUNG_C = 0.8
"""A room so far above its setpoint was swung by its control, and will fall again without any loss of heat."""
HELD_S, KEPT_S = 3600.0, 600.0
MORE_HEAT = 0.12
"""Least heat above what held the room, as a share of full heat."""
LEAST_HEAT = 0.05
"""Least heat that held the room: where sun and people held it, the valve has not shown yet what it can do."""
UNEXPLAINED = 0.6
"""Share of the given heat by which the estimated need has risen."""
SLOW_S, FALL_C = 1200.0, 0.05
"""The room falls while it is this much colder than its mean over about that time."""
EVIDENCE_S = 15 * 60.0
FAST_S, RISE_C = 240.0, 0.3
"""Rise of the smoothed temperature from its lowest value by which the heat is back, and the time it is smoothed over."""
WARM_UP_S = 20 * 60.0


def _smooth(smooth_c: float, room_c: float, share: float) -> float:
    return room_c if math.isnan(smooth_c) else smooth_c + (room_c - smooth_c) * min(1.0, share)


class HeatWatch:
    """Detects that a room has lost its heat, and that the heat is back.

    Attributes:
        lost: whether no heat arrives.
        disturbs: whether no heat arrives, or pipe and radiator still warm up: then nothing can be learned.
        below: whether the room was held and is colder now.
    """

    __slots__ = (
        "_back_s",
        "_evidence_s",
        "_fast_c",
        "_held_s",
        "_kept_s",
        "_lowest_c",
        "_newer",
        "_older",
        "_slow_c",
        "below",
        "disturbs",
        "lost",
    )

    def __init__(self) -> None:
        self.lost = self.below = self.disturbs = False
        self._older: float | None = None
        self._newer: float | None = None
        self._held_s, self._kept_s = 0.0, KEPT_S
        self._evidence_s = self._lowest_c = self._back_s = 0.0
        self._slow_c = self._fast_c = math.nan

    def update(self, room_c: float, error_c: float, heat: float, hold: float, dt_s: float) -> None:
        """Take the state of a room.

        Args:
            room_c: temperature, °C.
            error_c: setpoint less temperature, K.
            heat: heat that the radiator should emit, as a share of full heat.
            hold: share of heat that would hold the setpoint, as the model estimates it.
            dt_s: time since the last call, s.
        """
        self._slow_c, self._fast_c = _smooth(self._slow_c, room_c, dt_s / SLOW_S), _smooth(self._fast_c, room_c, dt_s / FAST_S)
        self._back_s += dt_s
        if self.lost:
            self._lowest_c, self._back_s = min(self._lowest_c, self._fast_c), 0.0
            self.lost = error_c > NEAR_C and self._fast_c < self._lowest_c + RISE_C
        elif error_c <= NEAR_C:
            self._keep(hold, error_c, dt_s)
        elif self._older is not None:
            self.below = True
            proven = self._older >= LEAST_HEAT
            more = proven and heat - self._older >= MORE_HEAT and hold - self._older >= UNEXPLAINED * heat
            falls = room_c < self._slow_c - FALL_C
            self._evidence_s = self._evidence_s + dt_s if more and falls else max(0.0, self._evidence_s - dt_s)
            self.lost, self._lowest_c = self._evidence_s >= EVIDENCE_S, self._fast_c
        self.disturbs = self.lost or (self.disturbs and self._back_s < WARM_UP_S)

    def _keep(self, hold: float, error_c: float, dt_s: float) -> None:
        """Keep what holds the room, as of ten to twenty minutes before it gets colder; a room that swings is not held."""
        if self.below or error_c < -SWUNG_C:
            self._held_s, self._older = 0.0, None
        self.below, self._evidence_s = False, 0.0
        self._held_s += dt_s
        self._kept_s += dt_s
        if self._kept_s >= KEPT_S:
            self._older, self._newer, self._kept_s = self._newer if self._held_s >= HELD_S else None, hold, 0.0
