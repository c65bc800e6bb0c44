"""The sandbox of a query: the SQL that is allowed, its execution in a read-only transaction, and its errors.

There are several layers, since each of them alone has been seen to fail: one statement that parses to a SELECT, only table
functions that read the database, a read-only transaction, no access to files or settings (locked when the database is opened),
and the limits of `limits.py`.
"""

import re
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import orjson
import pyarrow as pa

from broker.contract.storage.topics import QueryError, QueryRequest
from storage.database.opening import opening_error, refuse_beside_writer, restrict_access
from storage.errors import DatabaseMissing, QueryFailed
from storage.query.limits import MAX_SQL_CHARACTERS, Limits, deadlines, limit_error
from storage.schema.views import define_views

_DATABASE_FUNCTIONS = "columns constraints functions indexes memory schemas settings tables types views"
TABLE_FUNCTIONS = frozenset(
    ["range", "generate_series", "unnest", "repeat", "json_each", "json_tree", "pragma_table_info", "pragma_database_size"]
    + [f"duckdb_{name}" for name in _DATABASE_FUNCTIONS.split()]
)
"""Table functions that a query may use: the others could read files or act on the database."""

_FILE_NAME = re.compile(r"[/\\.*?\[]")
_ROWS_PER_BATCH = 2_048
_WRONG = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, pa.ArrowInvalid)
_FAILURES = (duckdb.Error, pa.ArrowException, OSError, MemoryError)


def open_read_only(path: Path, *folders: Path) -> duckdb.DuckDBPyConnection:
    """Open a database read-only, while no recorder has it open. Only its archive and `folders` can be accessed beside it.

    Raises:
        DatabaseMissing: there is no such file.
        DatabaseLocked: another process has it open, or a recorder is about to open it.
        StorageError: it cannot be opened.
    """
    if not path.exists():
        raise DatabaseMissing(f"there is no database at {path}: start the recorder (make up), or set SCAUP_DATA_DIR")
    refuse_beside_writer(path.resolve())
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"python_enable_replacements": False})
    except duckdb.Error as error:
        raise opening_error(path, error) from error
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        archive = path.resolve().with_name("archive")
        define_views(connection, archive, temporary=True)
        restrict_access(connection, archive, *folders)
    except duckdb.Error as error:
        connection.close()
        raise opening_error(path, error) from error
    return connection


class QueryResult:
    """The rows of one query, read once, batch by batch. `truncated` is known after the last batch."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, request: QueryRequest, limits: Limits) -> None:
        self._connection, self._request, self._limits = connection, request, limits.lowered_by(request)
        self._expired = threading.Event()
        self.truncated = False
        self._deadline = deadlines.add(self._limits.left_s, self._expire)
        try:
            check(connection, request.sql)
            connection.execute("BEGIN TRANSACTION READ ONLY")
            self._reader = connection.sql(request.sql, params=request.parameters or None).to_arrow_reader(_ROWS_PER_BATCH)
            self.schema: pa.Schema = self._reader.schema
        except (QueryFailed, *_FAILURES) as error:
            failure = self._failure(error)
            self._end()
            raise failure from error

    def __iter__(self) -> Generator[pa.RecordBatch]:
        rows, size = 0, 0
        try:
            for full in self._reader:
                if self._expired.is_set():  # between two batches there was nothing to interrupt
                    raise QueryFailed(self._limits.timeout_error)
                batch = full.slice(0, self._limits.max_rows - rows)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if size > self._limits.max_bytes:
                    raise QueryFailed(
                        limit_error(f"the result is larger than {self._limits.max_bytes >> 20} MiB", "select less")
                    )
                yield batch
                if rows >= self._limits.max_rows:
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
            return QueryFailed(self._limits.timeout_error)
        if isinstance(error, QueryFailed):
            return error
        return QueryFailed(self._located(error))

    def _located(self, error: BaseException) -> QueryError:
        """Describe an error with its position in the SQL, which DuckDB may only report when it plans the query once more."""
        described = describe(error, self._request.sql)
        if described.kind != "invalid" or described.position is not None:
            return described
        prefix = "EXPLAIN "
        try:
            self._connection.execute(prefix + self._request.sql, self._request.parameters or None)
        except duckdb.Error as planning:
            position = describe(planning, prefix + self._request.sql).position
            return msgspec.structs.replace(described, position=None if position is None else position - len(prefix))
        return described


def execute(connection: duckdb.DuckDBPyConnection, request: QueryRequest, limits: Limits | None = None) -> QueryResult:
    """Check a request and start it on its own connection; the caller reads the result to the end.

    Raises:
        QueryFailed: it is refused, wrong or stopped; also raised while the result is read.
    """
    return QueryResult(connection, request, limits or Limits())


def check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Accept exactly one statement that only reads the database.

    Raises:
        QueryFailed: it is something else (`refused`), not SQL (`invalid`) or too long (`limit`).
    """
    if len(sql) > MAX_SQL_CHARACTERS:
        raise QueryFailed(limit_error(f"SQL of more than {MAX_SQL_CHARACTERS:,} characters", "give long lists as parameters"))
    if "\0" in sql:
        raise QueryFailed(_refused("SQL has no NUL characters"))  # some releases of DuckDB ignore what follows one
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


def tables_read(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Return the tables and views in a statement that `check` accepts, as they are written: `name`, `catalog.schema.name`."""
    nodes = _nodes(_syntax_tree(connection, sql))
    parts = ("catalog_name", "schema_name", "table_name")
    return {".".join(str(node[part]) for part in parts if node.get(part)) for node in nodes if node.get("type") == "BASE_TABLE"}


def _check_source(node: dict[str, Any]) -> None:
    """Check the source of one part of a query. DuckDB would read a file for a table name that is a file name."""
    if node.get("type") == "TABLE_FUNCTION":
        function = str(node.get("function", {}).get("function_name", "?")).lower()
        if function not in TABLE_FUNCTIONS:
            raise QueryFailed(_refused(f"the table function {function}() is not allowed"))
    elif node.get("type") == "BASE_TABLE" and _FILE_NAME.search(str(node.get("table_name"))):
        raise QueryFailed(_refused(f"{node['table_name']!r} could be a file: only tables can be read"))


def describe(error: BaseException, sql: str) -> QueryError:
    """Turn DuckDB's error into one with its position in the SQL."""
    if _is_short_of_memory(error):
        return limit_error("it needs more memory than the recorder allows", "select less, or aggregate")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = "\n".join(line for line in _before_excerpt(lines) if line)
    message = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", message)
    if isinstance(error, duckdb.PermissionException):
        return _refused(message)
    return QueryError("invalid" if isinstance(error, _WRONG) else "failed", message, _position(lines, sql))


def _is_short_of_memory(error: BaseException) -> bool:
    """Return whether memory was short. DuckDB has an error class for its own limit, only a text for that of the process."""
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
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)


def _before_excerpt(lines: list[str]) -> list[str]:
    return next((lines[:n] for n, line in enumerate(lines) if n and line.startswith("LINE ")), lines)


def _position(lines: list[str], sql: str) -> int | None:
    """Find the caret that DuckDB prints under `LINE 2: …`. A line that is too long is printed in part: it has no position."""
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
