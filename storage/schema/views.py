"""The views that queries read: each table of the schema `live` with its files in the archive, and every system's derived views.

The definitions hold the archive's absolute path, so they are made at each opening. DuckDB's `file_search_path` would allow
relative ones, but its wall around the archive's folder (`allowed_directories`) then refuses them (1.5.5 and 2.0.0).
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path

from duckdb import BinderException, CatalogException, DuckDBPyConnection, Error, TransactionException

from broker.contract import systems
from broker.contract.identifiers import number_sql
from broker.contract.sql import identifier, literal
from broker.log import Log
from storage.errors import first_line
from storage.files import file_size

log = Log(__name__)

_VIEW = re.compile(r"^CREATE VIEW (\w+) AS\n(.*?);$", re.MULTILINE | re.DOTALL)
_IDENTIFIER_NUMBER = re.compile(r"\bidentifier_number\((\w+)\)")
_TABLES = """
SELECT table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'live' AND table_catalog = current_database() GROUP BY table_name
"""
_FILES = "SELECT name, path, columns, bytes FROM archive_file WHERE state = 'archived' ORDER BY day, path"
_RECENT_FILES = """
SELECT path, columns, bytes FROM archive_file
WHERE state = 'archived' AND name = 'messages' AND last_number >= $number ORDER BY path
"""
_MARKED = """
SELECT 1 FROM duckdb_views() WHERE database_name = current_database() AND view_name = $name AND comment = $mark
"""
_LAST_NUMBER = """
SELECT greatest(0, (SELECT max(number) FROM live.messages),
                (SELECT max(last_number) FROM archive_file WHERE state = 'archived'),
                (SELECT count(*) FROM live.messages)
                + coalesce((SELECT sum(rows) FROM archive_file WHERE state = 'archived' AND name = 'messages'), 0)
                + coalesce((SELECT sum(messages) FROM expired_message), 0))
"""
"""The message with the highest number may be purged, but the count of all messages is known, and numbers have no gap."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    columns: tuple[str, ...]
    size: int

    @property
    def whole(self) -> bool:
        return file_size(self.path) == self.size


def define_views(connection: DuckDBPyConnection, archive: Path, temporary: bool = False) -> None:
    """Define all views, `temporary` ones where the database is open for reading only. A file of the first schema needs none.

    A view with a file that is missing or damaged answers every query with an error that names the file: recording goes on.
    """
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'archive_file'").fetchall():
        return
    files: dict[str, list[_File]] = {}
    for name, path, columns, size in connection.execute(_FILES).fetchall():
        files.setdefault(name, []).append(_File(archive / path, tuple(columns), size))
    for table, columns in connection.execute(_TABLES).fetchall():
        _define_union(connection, table, columns, files.get(table, []), temporary)
    recorded = connection.execute("SELECT name, query FROM recorded_view").fetchall()
    for name, query in [*derived_views().items(), *recorded]:
        try:
            _define(connection, name, query, temporary)
        except (BinderException, CatalogException) as error:
            log.error(
                "view-unusable",
                "the view %(view)s does not fit what is recorded: %(error)s",
                view=name,
                error=first_line(error),
            )


@cache
def derived_views() -> dict[str, str]:
    """Return the views of every system, name → SELECT, in the order of its `views.sql`: a view may stand on those before it."""
    found: dict[str, str] = {}
    for system in systems():
        file = resources(system).joinpath("views.sql")
        if file.is_file():
            sql = _IDENTIFIER_NUMBER.sub(lambda call: number_sql(call[1]), file.read_text("utf-8"))
            found |= _VIEW.findall(sql)
    return found


def last_number(connection: DuckDBPyConnection) -> int:
    """Return the number of the last message, 0 before the first."""
    return int(connection.execute(_LAST_NUMBER).fetchall()[0][0])


def messages_since(connection: DuckDBPyConnection, archive: Path, number: int) -> str:
    """Return the SQL that reads live and archived messages from `number` on; files that are missing or damaged are left out."""
    columns = ", ".join(map(identifier, tables(connection)["messages"]))
    live = f"SELECT {columns} FROM live.messages WHERE number >= {number}"
    found = connection.execute(_RECENT_FILES, {"number": number}).fetchall()
    files = [file for path, names, size in found if (file := _File(archive / path, tuple(names), size)).whole]
    return f"({live}{_archived(files)})"


def tables(connection: DuckDBPyConnection) -> dict[str, list[str]]:
    """Return the columns of each table that has an archive."""
    return dict(connection.execute(_TABLES).fetchall())


def read_files(files: list[Path], same_columns: bool = True) -> str:
    """Return the SQL that reads Parquet files as one table."""
    names = ", ".join(literal(str(path)) for path in files)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = {'false' if same_columns else 'true'})"


def _define(connection: DuckDBPyConnection, name: str, query: str, temporary: bool) -> None:
    kind = "TEMP VIEW" if temporary else "VIEW"
    mark = hashlib.sha256(query.encode()).hexdigest()
    if not temporary and connection.execute(_MARKED, {"name": name, "mark": mark}).fetchall():
        return  # writing nothing, a database also opens on a full disk
    connection.execute(f"CREATE OR REPLACE {kind} {identifier(name)} AS {query}")
    if not temporary:
        connection.execute(f"COMMENT ON VIEW {identifier(name)} IS '{mark}'")


def _define_union(connection: DuckDBPyConnection, table: str, columns: list[str], files: list[_File], temporary: bool) -> None:
    live = f"SELECT {', '.join(identifier(column) for column in columns)} FROM live.{identifier(table)}"
    damaged = next((file.path for file in files if not file.whole), None)
    reason = f"{damaged} of the archive is missing or damaged: bring it back from a copy" if damaged else ""
    if not reason:
        try:
            _define(connection, table, live + _archived(files), temporary)
        except Error as error:
            if not files or isinstance(error, TransactionException):
                raise  # it is not the archive
            reason = f"the archive cannot be read: {first_line(error)}"
    if reason:
        log.error("table-unusable", "%(table)s cannot be queried: %(reason)s", table=table, reason=reason)
        _define(connection, table, f"{live} UNION ALL {_always_failing(columns, reason)}", temporary)


def _always_failing(columns: list[str], reason: str) -> str:
    """Return a SELECT that fails even where a query asks for no column or filters all rows: an aggregate is never skipped."""
    names = ", ".join(f"failure AS {identifier(column)}" for column in columns)
    return f"SELECT {names} FROM (SELECT max(error({literal(reason)})) AS failure FROM range(1)) WHERE failure IS NULL"


def _archived(files: list[_File]) -> str:
    if not files:
        return ""
    same = len({file.columns for file in files}) == 1
    return f" UNION ALL BY NAME SELECT * FROM {read_files([file.path for file in files], same)}"
