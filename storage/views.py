"""What askers see: each table of the schema `live` and its files in the archive as one view, and the views of users.

The definitions hold the archive's absolute path, so they are made anew at each opening. DuckDB's `file_search_path` would allow
relative ones, but its wall around the archive's folder (`allowed_directories`) then refuses them (1.5.5 and 2.0.0).
"""

from pathlib import Path

from duckdb import DuckDBPyConnection

_TABLES = """
SELECT table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'live' GROUP BY table_name
"""
_FILES = "SELECT name, path, columns FROM archive_file WHERE state = 'archived' ORDER BY day, path"
_LAST_NUMBER = """
SELECT greatest(0, (SELECT max(number) FROM live.messages),
                (SELECT max(last_number) FROM archive_file WHERE state = 'archived'))
"""


def define_views(connection: DuckDBPyConnection, archive: Path, temporary: bool = False) -> None:
    """Define all views, `temporary` ones where the database is open for reading only. A file of the first schema needs none."""
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'archive_file'").fetchall():
        return
    files: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    for name, path, columns in connection.execute(_FILES).fetchall():
        files.setdefault(name, []).append((archive / path, tuple(columns)))
    for table, columns in connection.execute(_TABLES).fetchall():
        _define(connection, table, _union(table, columns, files.get(table, [])), temporary)
    for name, query in connection.execute("SELECT name, query FROM recorded_view").fetchall():
        _define(connection, name, query, temporary)


def last_number(connection: DuckDBPyConnection) -> int:
    """Return the number of the last message, 0 before the first."""
    return int(connection.execute(_LAST_NUMBER).fetchall()[0][0])


def tables(connection: DuckDBPyConnection) -> dict[str, list[str]]:
    """Return the columns of each table that has an archive."""
    return dict(connection.execute(_TABLES).fetchall())


def read_files(files: list[Path], same_columns: bool = True) -> str:
    """Return the SQL that reads Parquet files as one table."""
    names = ", ".join(literal(str(path)) for path in files)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = {'false' if same_columns else 'true'})"


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _define(connection: DuckDBPyConnection, name: str, query: str, temporary: bool) -> None:
    kind = "TEMP VIEW" if temporary else "VIEW"
    connection.execute(f"CREATE OR REPLACE {kind} {identifier(name)} AS {query}")


def _union(table: str, columns: list[str], files: list[tuple[Path, tuple[str, ...]]]) -> str:
    live = f"SELECT {', '.join(identifier(column) for column in columns)} FROM live.{identifier(table)}"
    if not files:
        return live
    same = len({columns for _, columns in files}) == 1
    archived = read_files([path for path, _ in files], same)
    return f"{live} UNION ALL BY NAME SELECT * FROM {archived}"
