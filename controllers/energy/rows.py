"""Rows of quarters and anomalies, as published and as returned by the recorder."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from broker.contract.energy.topics import ESTIMATED, MEASURED, PARTIAL, Anomaly, Quarter
from controllers.energy.anomaly import Unusual
from controllers.energy.quarters import FULL, Quarters
from controllers.energy.series import Changes

GONE = "gone"
"""Quality of a quarter that was removed, because finer readings do not cover it."""
_PLACES = 6


def rows_of(changes: Changes) -> tuple[Quarter, ...]:
    """Return rows in order of time: new, changed and removed quarters."""
    quarters = changes.quarters
    rows = [
        (start, Quarter(_text(start), kwh, _quality(covered, estimated), round(covered, _PLACES), negative))
        for start, kwh, covered, estimated, negative in zip(
            quarters.start_us.tolist(),
            quarters.kwh.tolist(),
            quarters.coverage.tolist(),
            quarters.is_estimated.tolist(),
            quarters.is_negative.tolist(),
            strict=True,
        )
    ]
    rows += [(start, Quarter(_text(start), None, GONE, 0.0)) for start in changes.removed_us]
    return tuple(row for _, row in sorted(rows, key=lambda each: each[0]))


def quarters_of(rows: list[dict[str, Any]]) -> Quarters:
    """Return the quarters of rows of `energy_interval`: `start_us`, `kwh`, `coverage`, `quality`, `negative`."""
    ordered = sorted(rows, key=lambda row: int(row["start_us"]))
    return Quarters(
        np.array([row["start_us"] for row in ordered], dtype=np.int64),
        np.array([row["kwh"] for row in ordered], dtype=np.float64),
        np.array([row["coverage"] for row in ordered], dtype=np.float64),
        np.array([row["quality"] == ESTIMATED for row in ordered], dtype=bool),
        np.array([bool(row["negative"]) for row in ordered], dtype=bool),
    )


def anomaly_of(ship: int | str, unusual: Unusual) -> Anomaly:
    """Return an anomaly as published."""
    return Anomaly(ship, _text(unusual.start_us), unusual.kind, unusual.kwh, unusual.expected_kwh, unusual.text)


def _quality(coverage: float, is_estimated: bool) -> str:
    if coverage < FULL:
        return PARTIAL
    return ESTIMATED if is_estimated else MEASURED


def _text(start_us: int) -> str:
    return datetime.fromtimestamp(start_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
