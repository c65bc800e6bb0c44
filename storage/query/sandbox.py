"""Read-only SQL for others: what is allowed, and how a query is stopped.

Several walls stand one behind the other, since each alone has been seen to leak: one statement that parses to a SELECT, only
table functions that read the database, a read-only transaction, no access to files or settings (locked when the database is
opened), a time limit, a row limit and the database's memory limit.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import orjson
import pyarrow as pa

from broker.contract.storage.topics import QueryError, QueryRequest
from storage.database.opening import opening_error, restrict_access
from storage.errors import DatabaseMissing, QueryFailed
from storage.query.deadline import Deadlines
from storage.schema.views import define_views

_DATABASE_FUNCTIONS = "columns constraints functions indexes memory schemas settings tables types views"
TABLE_FUNCTIONS = frozenset(
    ["range", "generate_series", "unnest", "repeat", "json_each", "json_tree", "pragma_table_info", "pragma_database_size"]
    + [f"duckdb_{name}" for name in _DATABASE_FUNCTIONS.split()]
)
"""Table functions that a query may use: every other one could read files or act on the database."""

LONGEST_SQL = 64 * 1024
"""Characters. DuckDB's planner takes seconds, without a way to stop it, or all of its stack for much longer statements."""

_FILE_NAME = re.compile(r"[/\\.*?\[]")
_ROWS_PER_BATCH = 2_048
_LEAST_S = 0.01
_WORTH_TELLING_S = 0.1
_WRONG = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, pa.ArrowInvalid)
_deadlines = Deadlines()
_FAILURES = (duckdb.Error, pa.ArrowException, OSError, MemoryError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may use."""

    max_rows: int = 1_000_000
    """Rows of result."""
    max_bytes: int = 256 * 1024 * 1024
    """Size of result in memory."""
    timeout_s: float = 60.0
    """Seconds from the question's arrival to the last row."""
    waited_s: float = 0.0
    """Seconds of `timeout_s` that were over when it started: it waited for its turn."""


def open_read_only(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database that no recorder has open, for reading only.

    Raises:
        DatabaseMissing: there is no such file.
        DatabaseLocked: another process has it open.
        StorageError: it cannot be opened.
    """
    if not path.exists():
        raise DatabaseMissing(f"there is no database at {path}: start the recorder (make up), or set SCAUP_DATA_DIR")
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"python_enable_replacements": False})
    except duckdb.Error as error:
        raise opening_error(path, error) from error
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        archive = path.resolve().with_name("archive")
        define_views(connection, archive, temporary=True)
        restrict_access(connection, archive)
    except duckdb.Error as error:
        connection.close()
        raise opening_error(path, error) from error
    return connection


class Answer:
    """The rows of one query, read once, batch by batch. `truncated` is known after the last one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, request: QueryRequest, limits: Limits) -> None:
        self._connection, self._request, self._limits = connection, request, limits
        self._max_rows = min(request.max_rows or limits.max_rows, limits.max_rows)
        self._timeout_s = min(request.timeout_s or limits.timeout_s, limits.timeout_s)
        self._expired = threading.Event()
        self.truncated = False
        self._deadline = _deadlines.add(max(self._timeout_s - limits.waited_s, _LEAST_S), self._expire)
        try:
            check(connection, request.sql)
            connection.execute("BEGIN TRANSACTION READ ONLY")
            self._reader = connection.sql(request.sql, params=request.parameters or None).to_arrow_reader(_ROWS_PER_BATCH)
            self.schema: pa.Schema = self._reader.schema
        except (QueryFailed, *_FAILURES) as error:
            failure = self._failure(error)
            self._end()
            raise failure from error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows, size = 0, 0
        try:
            for full in self._reader:
                if self._expired.is_set():  # while nobody fetched, there was nothing to interrupt
                    raise QueryFailed(self._too_long())
                batch = full.slice(0, self._max_rows - rows)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if size > self._limits.max_bytes:
                    raise QueryFailed(limit(f"the result is larger than {self._limits.max_bytes >> 20} MiB", "select less"))
                yield batch
                if rows >= self._max_rows:
                    self.truncated = batch.num_rows < full.num_rows or self._has_more()
                    return
        except _FAILURES as error:
            raise self._failure(error) from error
        finally:
            self._end()

    def _has_more(self) -> bool:
        return any(batch.num_rows for batch in self._reader)

    def _expire(self) -> None:
        self._expired.set()
        self._connection.interrupt()

    def _end(self) -> None:
        self._deadline.cancel()
        self._reader = None
        with suppress(duckdb.Error):  # closed already, or nothing to roll back
            self._connection.execute("ROLLBACK")

    def _failure(self, error: BaseException) -> QueryFailed:
        if self._expired.is_set():
            return QueryFailed(self._too_long())
        if isinstance(error, QueryFailed):
            return error
        return QueryFailed(self._located(error))

    def _too_long(self) -> QueryError:
        waited_s = self._limits.waited_s
        waiting = f", {waited_s:.1f} s of them waiting for its turn" if waited_s >= _WORTH_TELLING_S else ""
        return limit(f"stopped after {self._timeout_s:g} s{waiting}", "make it cheaper, for instance with --since")

    def _located(self, error: BaseException) -> QueryError:
        """Ask for the plan when the error came without its place in the SQL: binding it again says where."""
        described = describe(error, self._request.sql)
        if described.kind != "invalid" or described.position is not None:
            return described
        prefix = "EXPLAIN "
        try:
            self._connection.execute(prefix + self._request.sql, self._request.parameters or None)
        except duckdb.Error as again:
            position = describe(again, prefix + self._request.sql).position
            return msgspec.structs.replace(described, position=None if position is None else position - len(prefix))
        return described


def execute(connection: duckdb.DuckDBPyConnection, request: QueryRequest, limits: Limits | None = None) -> Answer:
    """Check a request and start it on a connection of its own; read the answer's batches to the end.

    Raises:
        QueryFailed: it is refused, wrong, or was stopped; also while the batches are read.
    """
    return Answer(connection, request, limits or Limits())


def check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Let through exactly one statement that only reads the database.

    Raises:
        QueryFailed: it is something else (`refused`) or no SQL (`invalid`).
    """
    if len(sql) > LONGEST_SQL:
        raise QueryFailed(limit(f"SQL of more than {LONGEST_SQL:,} characters", "give long lists as parameters"))
    if "\0" in sql:
        raise QueryFailed(_refused("SQL has no NUL characters"))  # not every DuckDB reads on after one
    try:
        statements = connection.extract_statements(sql)
        kinds = [statement.type for statement in statements]
    except (duckdb.Error, MemoryError) as error:
        raise QueryFailed(describe(error, sql)) from error
    if len(kinds) != 1:
        raise QueryFailed(_refused(f"one statement is allowed, this has {len(kinds)}"))
    if kinds != [duckdb.StatementType.SELECT]:
        raise QueryFailed(_refused("only SELECT is allowed: recorded data is never changed"))
    for node in _nodes(_syntax_tree(connection, sql)):
        _check_source(node)


def _check_source(node: dict[str, Any]) -> None:
    """Check what one part of a query reads from. A table's name may be a file's: DuckDB would read that."""
    if node.get("type") == "TABLE_FUNCTION":
        function = str(node.get("function", {}).get("function_name", "?")).lower()
        if function not in TABLE_FUNCTIONS:
            raise QueryFailed(_refused(f"the table function {function}() is not allowed"))
    elif node.get("type") == "BASE_TABLE" and _FILE_NAME.search(str(node.get("table_name"))):
        raise QueryFailed(_refused(f"{node['table_name']!r} could be a file: only tables can be read"))


def describe(error: BaseException, sql: str) -> QueryError:
    """Say what is wrong with a query, and where in its text, from DuckDB's error."""
    if _is_short_of_memory(error):
        return limit("it needs more memory than the recorder allows", "select less, or aggregate")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = "\n".join(line for line in _before_excerpt(lines) if line)
    message = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", message)
    if isinstance(error, duckdb.PermissionException):
        return _refused(message)
    return QueryError("invalid" if isinstance(error, _WRONG) else "failed", message, _position(lines, sql))


def _is_short_of_memory(error: BaseException) -> bool:
    """DuckDB has a class for its own limit; what meets the limit of the process, or the planner's, only says so."""
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError)):
        return True
    return re.search(r"bad.alloc|alloc\w* fail|fail\w* to alloc|not alloc", str(error), re.IGNORECASE) is not None


def _syntax_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    try:
        rows = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    except duckdb.Error as error:
        described = describe(error, sql)
        if described.kind != "limit":
            described = _refused(f"the statement cannot be checked: {described.message}")
        raise QueryFailed(described) from error
    try:
        tree = orjson.loads(rows[0][0])
    except orjson.JSONDecodeError as error:
        raise QueryFailed(_refused("it cannot be checked: it is nested too deeply, or has a number out of range")) from error
    if tree["error"]:
        raise QueryFailed(_refused(f"the statement cannot be checked: {tree.get('error_message', 'no syntax tree')}"))
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def _before_excerpt(lines: list[str]) -> list[str]:
    return next((lines[:n] for n, line in enumerate(lines) if n and line.startswith("LINE ")), lines)


def _position(lines: list[str], sql: str) -> int | None:
    """DuckDB shows `LINE 2: …` and under it a caret; a line that is too long is shown in part and gives no position."""
    for excerpt, marker in pairwise(lines):
        match = re.match(r"LINE (\d+): ", excerpt)
        sql_lines = sql.splitlines(keepends=True)
        if match is None or int(match[1]) > len(sql_lines) or "^" not in marker:
            continue
        number = int(match[1]) - 1
        if excerpt[match.end() :].rstrip() != sql_lines[number].rstrip():
            return None
        return sum(map(len, sql_lines[:number])) + marker.index("^") - match.end()
    return None


def _refused(message: str) -> QueryError:
    return QueryError("refused", message)


def limit(message: str, fix: str) -> QueryError:
    """Say which limit a query met, and what helps."""
    return QueryError("limit", f"{message}: {fix}")
