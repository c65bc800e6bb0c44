"""The control law: from the candidate models' beliefs to the valve level.

State feedback with an estimated disturbance. For the chain valve, dead time, radiator, air, the quantity

    z = (1 - leak*lag) exp(-leak*dead) (T - setpoint) + rate*lag exp(-leak*dead) (x - hold) + rate * (pipe - dead*hold)

is the error that remains once the heat in transport has arrived; pipe is the integral of the heat that entered it within the
dead time. dz/dt = -leak*z + rate*(u - hold), so u = hold - (1/closing - leak) * z / rate closes the error with the time
constant `closing`, and does not move the radiator's own poles. So it causes no overshoot by heat in the pipe, and no windup,
since the models use the level that was really set. `hold` is the integral part, predicted by its trend for the time at which
the heat arrives. u and hold are shares of heat: the valve curve of the candidate turns them into a level.
"""

from dataclasses import dataclass

import numpy as np

from controllers.heating.disturbance import LEAK_PER_S, TREND_S
from controllers.heating.model import DEAD_S, LAG_S, Beliefs, by_curve
from controllers.heating.valve import level_for

CLOSING_S = 400.0
CLOSING_PER_DEAD_TIME = 0.5
RARE_CLOSING_S = 300.0
"""Wanted time constant of the closed loop: a constant, a share of the dead time, and more if the sensors report rarely."""
HIGHEST_GAIN_PER_C = 0.25
"""Highest response to the remaining error, as a share of heat per kelvin: more would follow the noise of the sensors."""
DOUBTS = 1.0
"""Heat in transport counts as if the rate were higher by this many standard deviations."""
IDENTIFIED_DOUBT = 0.1
"""A room is identified when the mean ratio of standard deviation and rate has been this small."""
BAND_C = 0.12
"""Least effect of a level change on the error, K; smaller changes are not made."""
BAND_S = 800.0
"""Time of that effect."""
NARROWEST_BAND_PCT, WIDEST_BAND_PCT = 1.0, 4.0

_AIR, _PIPE = 1 - LEAK_PER_S * LAG_S, np.exp(-LEAK_PER_S * DEAD_S)
_CLOSING_S = CLOSING_S + CLOSING_PER_DEAD_TIME * DEAD_S
_SPEED, _RARE_SPEED = 1 / _CLOSING_S - LEAK_PER_S, 1 / (_CLOSING_S + RARE_CLOSING_S) - LEAK_PER_S
_AHEAD_S = DEAD_S + LAG_S
_TREND_S = TREND_S * (1 - np.exp(-_AHEAD_S / TREND_S))
"""Change of the hold level until the heat arrives, per unit of its trend."""
_TREND_S2 = TREND_S * (_AHEAD_S - _TREND_S)
"""Integral of that change."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Output of the law before limits. The wanted level is the sum of both parts."""

    proportional_pct: float
    """Response to the remaining error, in percent of valve level."""
    integral_pct: float
    """Level that would hold the setpoint under the present disturbance."""
    doubt: float = 0.0
    """Mean ratio of the rate's standard deviation and the rate."""

    @property
    def wanted_pct(self) -> float:
        """The wanted valve level, not limited to 0..100."""
        return self.proportional_pct + self.integral_pct


def demand(beliefs: Beliefs, setpoint_c: float, *, rare: bool = False) -> Demand:
    """Return the wanted valve level.

    Args:
        beliefs: beliefs of the candidates for this setpoint.
        setpoint_c: wanted room temperature, °C.
        rare: whether the sensors report rarely.
    """
    hold = beliefs.hold
    in_transport_s = (
        LAG_S * _PIPE * (beliefs.heat - hold) + beliefs.in_pipe_s - DEAD_S * hold - _TREND_S2 * beliefs.hold_trend_s
    )
    doubt = beliefs.doubt_c_s / beliefs.rate_c_s
    remaining_s = _AIR * _PIPE * (beliefs.room_c - setpoint_c) / beliefs.rate_c_s + (1 + DOUBTS * doubt) * in_transport_s
    gain = np.minimum(_RARE_SPEED if rare else _SPEED, HIGHEST_GAIN_PER_C * beliefs.rate_c_s)
    wanted = hold + _TREND_S * beliefs.hold_trend_s - gain * remaining_s
    holds, levels = by_curve(beliefs.weight, hold), by_curve(beliefs.weight, wanted)
    integral = sum([weight * level_for(share, curve) for curve, weight, share in holds])
    level = sum([weight * level_for(share, curve) for curve, weight, share in levels])
    return Demand(proportional_pct=100 * (level - integral), integral_pct=100 * integral, doubt=beliefs.mean(doubt))


def apply_dead_band(level: int, wanted_pct: float, rate_c_s: float) -> int:
    """Return the new integer level, 0..100: the old one unless the change exceeds the dead band.

    Fully closed and fully open are always reached, so that a nearly closed valve does not leak heat.

    Args:
        level: present level, 0..100.
        wanted_pct: wanted level, any number.
        rate_c_s: identified rate, K/s; a room that reacts strongly gets a narrower dead band.
    """
    limited_pct = min(100.0, max(0.0, wanted_pct))
    band_pct = min(WIDEST_BAND_PCT, max(NARROWEST_BAND_PCT, 100 * BAND_C / (rate_c_s * BAND_S)))
    if limited_pct in (0.0, 100.0) or abs(limited_pct - level) >= band_pct:
        return round(limited_pct)
    return level
