"""Results: rows with named columns, from Python or from Arrow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

Row = Sequence[Any]
Chunk = Sequence[Sequence[Any]]
"""Several rows as columns: one sequence of values per column, all of the same length, at least 1."""

_CHUNK_ROWS = 512


class Result(Protocol):
    """Rows with named columns. Rows can be read once."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    def rows(self) -> Iterator[Row]:
        """Return the rows as Python values; instants are aware and in UTC."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Return the same values column by column, several rows at a time: much faster for many rows."""
        ...

    def batches(self) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
        """Return the rows as Arrow."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of Python values."""

    columns: Sequence[str]
    values: Iterable[Row]

    def rows(self) -> Iterator[Row]:
        """Return the rows."""
        return iter(self.values)

    def chunks(self) -> Iterator[Chunk]:
        """Return the rows as columns, up to 512 rows at a time."""
        rows = iter(self.values)
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            yield list(zip(*chunk, strict=True))

    def batches(self) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
        """Return the rows as Arrow, with types found from the values."""
        import pyarrow as pa

        columns = list(zip(*self.values, strict=True)) or [()] * len(self.columns)
        table = pa.table({name: pa.array(list(column)) for name, column in zip(self.columns, columns, strict=True)})
        return table.schema, iter(table.to_batches())


@dataclass(slots=True)
class ArrowRows:
    """Rows that arrive as Arrow batches, with a schema known beforehand."""

    schema: "pa.Schema"
    source: "Iterable[pa.RecordBatch]"
    columns: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = _distinct(self.schema.names)

    def rows(self) -> Iterator[Row]:
        """Return the rows as Python values; dates that Python cannot represent are text."""
        for chunk in self.chunks():
            yield from zip(*chunk, strict=True)

    def chunks(self) -> Iterator[Chunk]:
        """Return the rows as columns, a batch at a time."""
        from broker.contract.storage.values import python_values

        for batch in self.source:
            if batch.num_rows:
                yield [python_values(plain(column)) for column in batch.columns]

    def batches(self) -> "tuple[pa.Schema, Iterator[pa.RecordBatch]]":
        """Return the rows as Arrow, with distinct names of columns."""
        schema = self.schema
        renamed = schema if list(self.columns) == schema.names else _renamed(schema, self.columns)
        return renamed, (each.rename_columns(list(self.columns)) for each in self.source)


def plain(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """Convert types that Python has no value for: nanoseconds to microseconds, instants to UTC, intervals to text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and (kind.unit == "ns" or kind.tz not in (None, "UTC")):
        return column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    if pa.types.is_interval(kind):
        return pa.array([None if each is None else _interval(each) for each in column.to_pylist()], pa.string())
    return column


def _interval(value: Any) -> str:
    """Write an interval as DuckDB reads it: `1 months 3 days 7200.5 seconds`."""
    parts = {"months": value.months, "days": value.days, "seconds": value.nanoseconds / 1e9}
    return " ".join(f"{number:g} {unit}" for unit, number in parts.items() if number) or "0 seconds"


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the repetitions of a name: a, a_1, a_2."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        result.append(candidate)
    return result


def _renamed(schema: "pa.Schema", names: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([each.with_name(name) for each, name in zip(schema, names, strict=True)])
