"""The cold start of an unknown room: its highest level climbs no faster than its effect is felt.

Until a level has been felt, it is not known how much heat an even higher one gives. A room that reacts quickly would overshoot
by all the heat that is on its way.
"""

FIRST_PCT, FIRST_S = 25.0, 25 * 60.0
"""Highest level at first, and for how long: even the longest dead time then shows whether it warms the room."""
STEP_PCT, SHORTEST_FELT_S = 50.0, 12 * 60.0
"""Rise within the time until a level is felt, and least such time."""
RARE_S = 20 * 60.0
"""More time until a level is felt if the sensors report rarely."""
WARMING_C_S, NEARER = 2.0 / 3600.0, 0.5
"""The level does not climb while the room warms faster than this, and by more than this share of the error within the time
until a level is felt; unless the room is identified."""


class Climb:
    """The highest level of a room at its start.

    Attributes:
        highest_pct: this level.
    """

    __slots__ = ("_running_s", "highest_pct")

    def __init__(self) -> None:
        self.highest_pct = 100.0
        self._running_s = 0.0

    def start(self, level: int) -> None:
        """Start with a valve level, percent, in a room that is not identified."""
        self.highest_pct, self._running_s = max(FIRST_PCT, level), 0.0

    def update(
        self, level: int, error_c: float, trend_c_s: float, felt_s: float, dt_s: float, *, rare: bool, known: bool
    ) -> None:
        """Advance the time.

        Args:
            level: valve level until now, percent.
            error_c: setpoint less room temperature, K.
            trend_c_s: trend of the room temperature, K/s.
            felt_s: time until a level is felt: dead time and lag, s.
            dt_s: time since the last call, s.
            rare: whether the sensors report rarely.
            known: whether the room is identified.
        """
        self._running_s += dt_s
        felt_s = max(SHORTEST_FELT_S, felt_s)
        is_used = level >= self.highest_pct - 5
        is_warming = trend_c_s >= max(WARMING_C_S, NEARER * error_c / felt_s)
        if self._running_s > FIRST_S and is_used and (known or not is_warming):
            step_pct = STEP_PCT * dt_s / (felt_s + (RARE_S if rare else 0.0))
            self.highest_pct = min(100.0, self.highest_pct + step_pct)
