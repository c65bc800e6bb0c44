"""The view `batch` and the statements over it, planned once for each connection.

Planning one typed insert takes DuckDB 12 ms, running it 2 ms for a few rows: at the fifty messages a second of a small plant
that was half a core. A prepared statement keeps its plan as long as the view stays the same one. So the view stands on an
object that hands out the present batch whenever DuckDB asks for its rows (the Arrow PyCapsule interface), and is never defined
again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from storage.database.batch import SCHEMA

_NUMBERED = SCHEMA.insert(0, pa.field("number", pa.int64()))


class _Batch:
    """What the view `batch` stands on."""

    def __init__(self) -> None:
        self.table: pa.Table = _NUMBERED.empty_table()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return _NUMBERED.__arrow_c_schema__()


class Statements:
    """The statements of one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._batch = _Batch()
        self._prepared: set[str] = set()
        connection.register("batch", self._batch)

    @contextmanager
    def showing(self, table: pa.Table, first_number: int = 1) -> "Iterator[Statements]":
        """Make a table the view `batch`, its rows numbered from `first_number` on, until the block is left."""
        numbers = pa.array(range(first_number, first_number + table.num_rows), pa.int64())
        self._batch.table = table.add_column(0, _NUMBERED.field("number"), numbers)
        try:
            yield self
        finally:
            self._batch.table = _NUMBERED.empty_table()

    def run(self, name: str, sql: str, *arguments: int) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; under the same name it is always the same one.

        Args:
            name: letters, digits and underscores.
            sql: with `$1`, `$2`… where the arguments go.
            arguments: whole numbers.

        Raises:
            duckdb.Error: it failed.
        """
        if name not in self._prepared:
            self.connection.execute(f"PREPARE {name} AS {sql}")
            self._prepared.add(name)
        given = f"({', '.join(map(str, arguments))})" if arguments else ""
        # fetchall: a result that is not read to its end keeps the connection busy
        return self.connection.execute(f"EXECUTE {name}{given}").fetchall()
