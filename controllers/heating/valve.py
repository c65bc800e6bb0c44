"""Valve curves: the share of heat that a radiator emits in the steady state, by valve level.

One family with one parameter, the exponent k:

    share(level) = (exp(k * level) - 1) / (exp(k) - 1)

k = 0 is linear, k > 0 an equal-percentage valve of rangeability exp(k), and k < 0 a quick-opening one.
"""

import math

import numpy as np

EXPONENTS = (-4.0, -1.5, 0.0, 1.4, 2.4, 3.4)
"""Curves of the candidate models."""
LEAST_SLOPE = 0.05
"""Least slope with which a curve is continued outside 0..1."""
LOWEST_LEVEL, HIGHEST_LEVEL = -1.0, 2.0


def heat_share(level: float, exponent: float) -> float:
    """Return the share of heat at a valve level, both 0..1; outside, the curve is continued as a straight line."""
    inside = min(1.0, max(0.0, level))
    share = inside if exponent == 0.0 else math.expm1(exponent * inside) / math.expm1(exponent)
    return share + (level - inside) * max(LEAST_SLOPE, slope(inside, exponent))


def level_for(share: float, exponent: float) -> float:
    """Return the valve level, -1..2, for a share of heat: the inverse of `heat_share`."""
    inside = min(1.0, max(0.0, share))
    level = inside if exponent == 0.0 else math.log1p(inside * math.expm1(exponent)) / exponent
    level += (share - inside) / max(LEAST_SLOPE, slope(level, exponent))
    return min(HIGHEST_LEVEL, max(LOWEST_LEVEL, level))


def slope(level: float, exponent: float) -> float:
    """Return the slope of a curve at a valve level, 0..1."""
    return 1.0 if exponent == 0.0 else exponent * math.exp(exponent * level) / math.expm1(exponent)


SHARES = np.array([[heat_share(percent / 100, exponent) for exponent in EXPONENTS] for percent in range(101)])
"""Share of heat by valve level in percent and by curve."""
