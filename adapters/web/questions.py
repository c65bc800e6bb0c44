"""The questions that a page may ask the recorder by name, with the answers in the shape that it needs."""

import math
import statistics
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from broker.contract import attention
from broker.contract.charging import questions as charging
from broker.contract.energy import questions as energy
from broker.contract.fastening import questions as fastening
from broker.contract.sql import Statement
from broker.contract.storage import questions
from broker.message import Message
from broker.stamp import Stamp

SHORTEST_HOLE_S, HOLE_SPACINGS = 5.0, 5.0
"""A pause longer than both, the second as a multiple of the usual pause between two values, is a hole: no line crosses it."""
MOST_POINTS, MOST_ROWS = 5_000, 5_000
LONGEST_SQL = 50_000
MOST_ANOMALIES = 200
"""Of all ships."""

Filter = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Rows = list[dict[str, Any]]


class SeriesOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of a topic between two instants, seconds since 1970, with the detail of so many points."""

    topic: str
    field: str
    from_s: float = msgspec.field(name="from")
    until_s: float = msgspec.field(name="until")
    points: int


class MarksOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The late and replayed values of a field between two instants, up to the message with this number."""

    topic: str
    field: str
    from_s: float = msgspec.field(name="from")
    until_s: float = msgspec.field(name="until")
    points: int
    number: int


class ValuesOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest values of a field between two instants."""

    topic: str
    field: str
    from_s: float = msgspec.field(name="from")
    until_s: float = msgspec.field(name="until")
    rows: int


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The values of a field that were recorded after a message with this number."""

    topic: str
    field: str
    number: int
    from_s: float = msgspec.field(name="from", default=0.0)


class Messages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest messages of a topic before one with this number."""

    topic: str
    rows: int = 50
    before: int | None = None


class AsOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plant at an instant, s since 1970: the last message of each topic that matches a filter."""

    filters: Annotated[list[Filter], msgspec.Meta(min_length=1, max_length=50)]
    at: float


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Charging sessions that began or ended between two instants, s since 1970, of one charger or of all."""

    from_s: float = msgspec.field(name="from")
    until_s: float | None = msgspec.field(name="until", default=None)
    charger: str | None = None


class EnergyOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The energy of a ship between two instants, s since 1970, as it was known at an instant or is."""

    ship: str
    from_s: float = msgspec.field(name="from")
    until_s: float = msgspec.field(name="until")
    at: float | None = None


class ShipsOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All ships, as they were known at an instant, s since 1970, or are."""

    at: float | None = None


class Ship(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ship."""

    ship: str


class SerialOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A serial number."""

    serial: str


class StepOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest tightenings of a part's step."""

    part: str
    revision: str
    step: int
    rows: int = 100


class PartOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part number, or all."""

    part: str | None = None


class Until(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The day before an instant, s since 1970."""

    until_s: float = msgspec.field(name="until")


class Sql(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any query."""

    sql: str
    rows: int = MOST_ROWS


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question without parameters."""


class Question(msgspec.Struct, frozen=True):
    """A question: the shape of its parameters, its statement, and how its rows become the answer."""

    parameters: type[Any]
    statement: Callable[[Any], Statement]
    answer: Callable[[Rows], dict[str, Any]] = lambda rows: {"rows": rows}


def _series(of: SeriesOf) -> Statement:
    return questions.series(of.topic, of.field, of.from_s, of.until_s, min(of.points, MOST_POINTS))


def series(rows: Rows) -> dict[str, Any]:
    """Join the parts of a series to one line: times in s and values, None where there is a hole.

    Args:
        rows: of `broker.contract.storage.questions.series`, in the order of time.
    """
    at: list[float] = []
    value: list[float | None] = []
    spacing = _usual_spacing(rows)
    hole = max(SHORTEST_HOLE_S, HOLE_SPACINGS * spacing)
    before: float | None = None
    for row in rows:
        points = sorted({(row[f"{name}_s"], row[name]) for name in ("first", "lowest", "highest", "last")}, key=lambda p: p[0])
        if before is not None and points[0][0] - before > hole:
            at.append((points[0][0] + before) / 2)
            value.append(None)
        for instant, number in points:
            at.append(instant)
            value.append(number)
        before = points[-1][0]
    return {
        "at": at,
        "value": value,
        "steps": any(row["retained"] for row in rows) and all(_is_set(each) for each in value),
        "number": max((row["number"] for row in rows), default=0),
        "spacing": spacing,
        "count": sum(row["count"] for row in rows),
    }


def _is_set(value: float | None) -> bool:
    """Return whether it looks like a value that was set, and holds until the next one: a setpoint, a level."""
    return value is None or (2 * value).is_integer()


def _usual_spacing(rows: Rows) -> float:
    """Return the usual pause between two values, s."""
    inside = [(row["last_s"] - row["first_s"]) / (row["count"] - 1) for row in rows if row["count"] > 1]
    between = [later["first_s"] - earlier["last_s"] for earlier, later in pairwise(rows)]
    pauses = inside if len(inside) > len(rows) / 2 else [*inside, *between]
    return statistics.median(pauses) if pauses else 0.0


def _pairs(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return rows of values as lists: number, instant, value, mark and plant time, s."""
    return {
        "rows": [
            [row["number"], row["at_s"], row["value"] if _finite(row["value"]) else None, row["mark"], row["event_s"]]
            for row in rows
        ]
    }


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(min(max(at_s, 0.0), 4e10), UTC)


def _marks(of: MarksOf) -> Statement:
    return questions.marks(of.topic, of.field, of.from_s, of.until_s, min(of.points, MOST_POINTS), of.number)


def _values(of: ValuesOf) -> Statement:
    return questions.values(of.topic, of.field, of.from_s, of.until_s, min(of.rows, MOST_ROWS))


def message_of(row: dict[str, Any]) -> Message:
    """Return the message of a row of `broker.contract.storage.questions.as_of`."""
    payload = row["payload"].encode() if row["payload"] is not None else b""
    plant_at = datetime.fromisoformat(row["event_at"]) if row["event_at"] else None
    stamp = Stamp(row["source"], row["boot"], row["seq"], plant_at)
    return Message(topic=row["topic"], payload=payload, qos=row["qos"], retain=row["retain"], stamp=stamp)


def as_of(rows: Rows) -> dict[str, Any]:
    """Return rows of `broker.contract.storage.questions.as_of` in the shape of the live latest messages."""
    latest = [
        {"topic": row["topic"], "payload": row["payload"] or "", "at": row["at_s"], "plant_at": row["event_at"]} for row in rows
    ]
    return {"latest": latest}


def gaps(rows: Rows) -> dict[str, Any]:
    """Return rows of `broker.contract.attention.gaps`, each with the query that shows more."""
    return {"rows": [{**row, "sql": attention.gap_places(row["source"], row["boot"])} for row in rows]}


def _known(at_s: float | None) -> datetime | None:
    return None if at_s is None else _instant(at_s)


def _energy(of: EnergyOf) -> tuple[str, datetime, datetime, datetime | None]:
    return of.ship, _instant(of.from_s), _instant(of.until_s), _known(of.at)


def _sessions(of: Sessions) -> Statement:
    return charging.sessions(of.charger, _instant(of.from_s), None if of.until_s is None else _instant(of.until_s))


QUESTIONS: dict[str, Question] = {
    "series": Question(SeriesOf, _series, series),
    "marks": Question(MarksOf, _marks),
    "values": Question(ValuesOf, _values, _pairs),
    "after": Question(After, lambda of: questions.after(of.topic, of.field, of.number, of.from_s), _pairs),
    "messages": Question(Messages, lambda of: questions.messages(of.topic, min(of.rows, MOST_ROWS), of.before)),
    "as_of": Question(AsOf, lambda of: questions.as_of(of.filters, of.at), as_of),
    "tables": Question(Nothing, lambda _: questions.tables()),
    "notices": Question(Until, lambda of: attention.notices(of.until_s)),
    "gaps": Question(Until, lambda of: attention.gaps(of.until_s), gaps),
    "charging.sessions": Question(Sessions, _sessions),
    "energy.ships": Question(ShipsOf, lambda of: energy.ships(_known(of.at))),
    "energy.extent": Question(Ship, lambda of: energy.extent(of.ship)),
    "energy.quarters": Question(EnergyOf, lambda of: energy.quarters(*_energy(of))),
    "energy.anomalies": Question(EnergyOf, lambda of: energy.anomalies(*_energy(of))),
    "energy.newest_anomalies": Question(ShipsOf, lambda of: energy.newest_anomalies(MOST_ANOMALIES, _known(of.at))),
    "fastening.results": Question(SerialOf, lambda of: fastening.results(of.serial)),
    "fastening.history": Question(SerialOf, lambda of: fastening.history(of.serial)),
    "fastening.serials": Question(PartOf, lambda of: fastening.serials(of.part)),
    "fastening.torques": Question(
        StepOf, lambda of: fastening.torques(of.part, of.revision, of.step, max(1, min(of.rows, MOST_ROWS)))
    ),
    "fastening.spc": Question(PartOf, lambda of: fastening.spc(of.part)),
}
