"""Statements of the ledger: they compare the rows of a typed table with those that its declaration derives from `messages`.

They read views only, so clients may send them to the recorder. Each covers the messages with numbers from `$low` to `$high`.
"""

from dataclasses import dataclass

from broker.contract import replay
from broker.contract.sql import family_condition, literal
from storage.schema.typed_streams import TYPED_STREAMS, TypedStream

REJECTED = "rejected_message"
_REFUSED = "the typed table refused it"
_IN_PIECE = "number BETWEEN $low AND $high"

_REFUSED_ROWS = f"""
refused AS MATERIALIZED (
    SELECT messages.number, messages.received_at, messages.event_at, 'recorder' AS component, messages.topic,
        '{_REFUSED}' AS reason, messages.payload, messages.payload_raw
    FROM messages JOIN (SELECT DISTINCT number, topic FROM rejected_message
                        WHERE component = 'recorder' AND reason = '{_REFUSED}' AND {_IN_PIECE}) AS listed
        ON messages.number = listed.number AND messages.topic = listed.topic
    WHERE messages.{_IN_PIECE})"""
"""Messages that a typed table refused: kept raw, and listed in full."""

_COUNTS = """
SELECT count(*) FILTER (wanted) AS wanted, count(*) FILTER (NOT wanted) AS found,
    coalesce(sum(if(wanted, 1, -1) * content::HUGEINT), 0) <> 0 AS differs FROM sides
"""
_DIFFERENCES = """
, unequal AS (
    SELECT number, content, count(*) FILTER (wanted) AS wanted, count(*) FILTER (NOT wanted) AS found FROM sides
    GROUP BY number, content HAVING count(*) FILTER (wanted) <> count(*) FILTER (NOT wanted)),
numbers AS (
    SELECT number, sum(greatest(wanted - found, 0)) AS less, sum(greatest(found - wanted, 0)) AS more
    FROM unequal GROUP BY number)
SELECT coalesce(sum(less - least(less, more)), 0)::BIGINT AS missing,
    coalesce(sum(more - least(less, more)), 0)::BIGINT AS surplus,
    coalesce(sum(least(less, more)), 0)::BIGINT AS different, list(number ORDER BY number)[:10] AS numbers FROM numbers
"""


@dataclass(frozen=True, slots=True)
class TypedTable:
    """A typed table and the query for the rows that it should have."""

    name: str
    columns: tuple[str, ...]
    wanted_sql: str

    @property
    def counts_sql(self) -> str:
        """Return the query for the numbers of rows `wanted` and `found`, and whether anything `differs`. Needs no memory."""
        return self._sides + _COUNTS

    @property
    def differences_sql(self) -> str:
        """Return the query for the numbers of missing, surplus and different rows, and the first message numbers of them."""
        return self._sides + _DIFFERENCES

    @property
    def _sides(self) -> str:
        # A union gives both sides the same types, without which equal values have different hashes.
        names = ", ".join(self.columns)
        found = f"SELECT {names} FROM {self.name} WHERE {_IN_PIECE}"
        return f"""WITH {_REFUSED_ROWS}, sides AS (
            SELECT number, wanted, hash({names}) AS content FROM (
                SELECT true AS wanted, {names} FROM ({self.wanted_sql})
                UNION ALL SELECT false AS wanted, {names} FROM ({found})))"""


def typed_tables() -> tuple[TypedTable, ...]:
    """Return every typed table; `rejected_message` also lists the messages of all streams that could not be typed."""
    names = dict.fromkeys(typed.table for typed in TYPED_STREAMS)
    return tuple(_table(name, [typed for typed in TYPED_STREAMS if typed.table == name]) for name in names)


def _table(name: str, streams: list[TypedStream]) -> TypedTable:
    columns = streams[0].names
    wanted = [typed.rows_sql(_messages(typed)) for typed in streams]
    if name == REJECTED:
        wanted += [typed.rejects_sql(_messages(typed)) for typed in TYPED_STREAMS]
        wanted.append("SELECT * FROM refused")
    shown = ", ".join(columns)
    return TypedTable(name, columns, " UNION ALL ".join(f"SELECT {shown} FROM ({each})" for each in wanted))


def _messages(typed: TypedStream) -> str:
    topics = family_condition(typed.stream.template)
    new = f"source IS DISTINCT FROM {literal(replay.SOURCE)} AND number NOT IN (SELECT number FROM refused)"
    return f"(SELECT * FROM messages WHERE {_IN_PIECE} AND {topics} AND {new})"
