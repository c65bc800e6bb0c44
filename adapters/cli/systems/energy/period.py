"""A ship's quarters of an hour in a period, with their anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.client.errors import Failed, WrongUsage
from adapters.client.session import Session, rows_of
from adapters.client.times import parse_instant
from broker.contract.energy import questions as energy_sql

QUARTER = timedelta(minutes=15)
_TOLERANCE_KWH = 1e-9


@dataclass(frozen=True, slots=True)
class QuarterAnomaly:
    """An anomaly that still holds: the quarter still has the reported value, or is still missing."""

    kind: str
    kwh: float | None
    expected_kwh: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ShipQuarter:
    """A quarter of an hour; `kwh` is None for a missing quarter, which is included for its anomalies."""

    start_at: datetime
    kwh: float | None
    quality: str | None
    coverage: float
    negative: bool
    revised_at: datetime | None
    anomalies: tuple[QuarterAnomaly, ...] = ()


@dataclass(frozen=True, slots=True)
class ShipPeriod:
    """The quarters of a ship that begin in `[since_at, until_at)`, in order; missing ones without anomalies are left out."""

    ship: str
    since_at: datetime
    until_at: datetime
    quarters: tuple[ShipQuarter, ...]

    @property
    def known(self) -> list[ShipQuarter]:
        """The quarters that have a value."""
        return [each for each in self.quarters if each.kwh is not None]

    @property
    def kwh(self) -> float:
        """The energy of all quarters."""
        return sum(each.kwh or 0.0 for each in self.quarters)

    @property
    def count(self) -> int:
        """The number of quarters from beginning to end, known or not."""
        return max(1, -((self.since_at - self.until_at) // QUARTER))


def read(session: Session, ship: str, since: str, until: str | None) -> ShipPeriod:
    """Read a period; `since` and `until` are typed by people, and relative times count back from the ship's last data.

    Raises:
        Failed: there is no data of the ship, or none in the period.
        WrongUsage: a time cannot be read, or the period ends before it begins.
        ClientError: neither the recorder nor the database file can answer.
    """
    statement = energy_sql.extent(ship)
    (extent,) = rows_of(session, statement.sql, statement.parameters)
    if extent["end_at"] is None:
        raise Failed(f"no energy of ship {ship} is known", "see scaup energy ships")
    first_at, end_at = extent["first_at"], extent["end_at"]
    since_at = max(_instant(since, end_at, "--since"), first_at)
    until_at = min(_instant(until, end_at, "--until") if until is not None else end_at, end_at)
    if until_at <= since_at:
        raise Failed(
            f"no energy of ship {ship} is known in that period: it has {_text(first_at)} to {_text(end_at)}",
            "relative times count back from the ship's last quarter; --until must be after --since",
        )
    period = ShipPeriod(ship, _floor(since_at), until_at, _quarters(session, ship, since_at, until_at))
    if not period.known:
        raise Failed(
            f"no energy of ship {ship} is known from {_text(since_at)} to {_text(until_at)}", "widen --since or --until"
        )
    return period


def _instant(text: str, end_at: datetime, option: str) -> datetime:
    try:
        return parse_instant(text, end_at)
    except (ValueError, OverflowError) as error:
        raise WrongUsage(f"{option}: {error}", "for example 2d, or 2018-08-24T00:00Z") from error


def _floor(at: datetime) -> datetime:
    return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % QUARTER


def _quarters(session: Session, ship: str, since_at: datetime, until_at: datetime) -> tuple[ShipQuarter, ...]:
    known = energy_sql.quarters(ship, since_at, until_at)
    rows = rows_of(session, known.sql, known.parameters)
    reported = energy_sql.anomalies(ship, since_at, until_at)
    unusual = rows_of(session, reported.sql, reported.parameters)
    by_start = {each["start_at"]: each for each in rows}
    found: dict[datetime, list[QuarterAnomaly]] = {}
    for each in unusual:
        anomaly = QuarterAnomaly(each["kind"], **each["last"])
        if _holds(anomaly, by_start.get(each["start_at"])):
            found.setdefault(each["start_at"], []).append(anomaly)
    starts = sorted({*by_start, *found})
    return tuple(_quarter(at, by_start.get(at), found.get(at, ())) for at in starts)


def _holds(anomaly: QuarterAnomaly, row: dict[str, Any] | None) -> bool:
    """Return whether an anomaly still describes the data, which may have been revised since."""
    if row is None:
        return anomaly.kwh is None
    return anomaly.kwh is not None and abs(anomaly.kwh - row["kwh"]) <= _TOLERANCE_KWH * max(1.0, abs(anomaly.kwh))


def _quarter(start_at: datetime, row: dict[str, Any] | None, anomalies: Sequence[QuarterAnomaly]) -> ShipQuarter:
    if row is None:
        return ShipQuarter(start_at, None, None, 0.0, False, None, tuple(anomalies))
    kwh, quality, coverage = row["kwh"], row["quality"], row["coverage"]
    return ShipQuarter(start_at, kwh, quality, coverage, row["negative"], row["revised_at"], tuple(anomalies))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
