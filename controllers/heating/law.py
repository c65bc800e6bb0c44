"""The control law: from the candidate models' beliefs to the valve level.

State feedback with an estimated disturbance. For the chain valve, transport, radiator, air, the quantity

    z = (1 - leak*lag) (1 - leak*transport) (T - setpoint)
        + rate*lag (1 - leak*transport) (x - hold) + rate*transport (w - hold)

is the error that remains once the heat in transport has arrived (the left eigenvector of the air's own pole, so that
dz/dt = -leak*z + rate*(u - hold)). Therefore u = hold - (1/closing - leak) * z / rate closes the error with the time
constant `closing` and does not move the radiator's own poles. So it causes no overshoot by heat in the pipe, and no windup,
since the models use the level that was really set. `hold` is the integral part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from controllers.heating.candidate import LEAK_PER_S
from controllers.heating.model import Belief

CLOSING_S = 800.0
"""Wanted time constant of the closed loop, plus the transport time."""
SOFT_START_S = 20 * 60.0
SOFT_START_PCT = 25.0
"""Highest level while a room is not yet identified: one that reacts quickly must not overshoot meanwhile."""
BAND_C = 0.12
"""Least effect of a level change on the error, K; smaller changes are not made."""
NARROWEST_BAND_PCT, WIDEST_BAND_PCT = 1.0, 4.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Output of the law before limits. The wanted level is the sum of both parts."""

    proportional_pct: float
    """Response to the remaining error, in percent of valve level."""
    integral_pct: float
    """Level that would hold the setpoint under the present disturbance."""

    @property
    def wanted_pct(self) -> float:
        """The wanted valve level, not limited to 0..100."""
        return self.proportional_pct + self.integral_pct


def demand(beliefs: Sequence[Belief], setpoint_c: float) -> Demand:
    """Return the wanted valve level.

    Args:
        beliefs: beliefs of the candidates for this setpoint, at least one, their weights adding up to 1.
        setpoint_c: wanted room temperature, °C.
    """
    integral = sum([each.weight * each.hold for each in beliefs])
    proportional = sum([each.weight * _proportional(each, setpoint_c) for each in beliefs])
    return Demand(proportional_pct=100 * proportional, integral_pct=100 * integral)


def _proportional(belief: Belief, setpoint_c: float) -> float:
    air, pipe = 1 - LEAK_PER_S * belief.lag_s, 1 - LEAK_PER_S * belief.transport_s
    in_transport_c = belief.rate_c_s * (
        belief.lag_s * pipe * (belief.heat - belief.hold) + belief.transport_s * (belief.sent - belief.hold)
    )
    remaining_c = air * pipe * (belief.room_c - setpoint_c) + in_transport_c
    return -(1 / (CLOSING_S + belief.transport_s) - LEAK_PER_S) * remaining_c / belief.rate_c_s


def apply_dead_band(level: int, wanted_pct: float, rate_c_s: float) -> int:
    """Return the new integer level, 0..100: the old one unless the change exceeds the dead band.

    Fully closed and fully open are always reached, so that a nearly closed valve does not leak heat.

    Args:
        level: present level, 0..100.
        wanted_pct: wanted level, any number.
        rate_c_s: identified rate, K/s; a room that reacts strongly gets a narrower dead band.
    """
    limited_pct = min(100.0, max(0.0, wanted_pct))
    band_pct = min(WIDEST_BAND_PCT, max(NARROWEST_BAND_PCT, 100 * BAND_C / (rate_c_s * CLOSING_S)))
    if limited_pct in (0.0, 100.0) or abs(limited_pct - level) >= band_pct:
        return round(limited_pct)
    return level
