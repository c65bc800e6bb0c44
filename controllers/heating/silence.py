"""Silence of sensors that report only changes: a quiet room, or dead sensors.

While none of them reports, the temperature should not change. If the heat that the room gets should have changed it,
the sensors are dead.
"""

MARGIN_C = 0.5
"""Predicted movement beyond the sensors' resolution, K, that a working sensor would report."""
BELIEVED_S = 3600.0
"""Time constant by which silence is taken as proof that the present heat holds the room, and by which the room loses heat."""


class SilenceWatch:
    """The predicted change of temperature of one room since its last report."""

    __slots__ = ("_hold", "_moved_c")

    def __init__(self) -> None:
        self._hold = self._moved_c = 0.0

    def hear(self, hold: float) -> None:
        """Take a report; `hold` is the share of full heat that holds the room, 0..1."""
        self._hold, self._moved_c = hold, 0.0

    def update(self, heat: float, rate_c_s: float, resolution_c: float, dt_s: float) -> bool:
        """Advance by a time without a report; return whether a sensor that works would have reported.

        Args:
            heat: heat that the radiator emits, as a share of full heat.
            rate_c_s: effect of full heat on the room, K/s.
            resolution_c: finest step of the sensors, K.
            dt_s: time since the last call, s.
        """
        share = min(1.0, dt_s / BELIEVED_S)
        self._moved_c += dt_s * rate_c_s * (heat - self._hold) - share * self._moved_c
        self._hold += share * (heat - self._hold)
        return abs(self._moved_c) > MARGIN_C + resolution_c
