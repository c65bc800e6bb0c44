"""The causes that keep a room from its setpoint, as texts of the heating report."""

from collections.abc import Mapping
from typing import Any

LATE_S = 8 * 60.0
"""Dead time, s, from which a room cannot be held as closely as others after a disturbance."""
LEAST_POWER_H = 2.0
"""Shorter times at full heat are not reported, h: any room takes some time to warm up."""
IDENTIFIED_H = 2.0
"""In a shorter period the dead time may be a first guess, h."""
LEAST_H = 0.05
"""Shorter times are not reported, h."""


def limits(row: Mapping[str, Any]) -> list[str]:
    """Return what limits a room, the cause that lasted longest first.

    Args:
        row: of `questions.report`; times are plant hours.
    """
    causes = [
        (row["low_power_h"], LEAST_POWER_H, f"not enough power: valve at 100 % for {duration(row['low_power_h'])}"),
        (row["warm_h"], LEAST_H, f"too warm with a closed valve for {duration(row['warm_h'])}"),
        (row["window_h"], LEAST_H, f"window: valve closed for {duration(row['window_h'])}"),
        (row["backed_off_h"], LEAST_H, f"oscillation: backed off for {duration(row['backed_off_h'])}"),
        (row["no_heat_h"], LEAST_H, f"heat source: no heat arrived for {duration(row['no_heat_h'])}"),
        (row["blind_h"], LEAST_H, f"sensors: none to be trusted for {duration(row['blind_h'])}"),
    ]
    found = [words for hours, least_h, words in sorted(causes, key=lambda each: -each[0]) if hours >= least_h]
    if (row["dead_time_s"] or 0.0) >= LATE_S and row["plant_h"] >= IDENTIFIED_H:
        found.append(f"late answer: {row['dead_time_s'] / 60:.0f} min of dead time")
    return found


def duration(hours: float) -> str:
    """Return a duration with its unit: `20 min`, `3 h`."""
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.0f} h"
