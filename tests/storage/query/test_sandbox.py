import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

from broker.contract.storage.topics import QueryRequest
from storage.database.batch import arrow_table
from storage.database.database import Database
from storage.database.opening import hold_lock
from storage.errors import DatabaseLocked, DatabaseMissing, QueryFailed
from storage.query.limits import MAX_SQL_CHARACTERS, Limits
from storage.query.sandbox import execute, open_read_only
from storage.schema.typed_streams import StreamCodes
from tests.databases import open_database
from tests.storage.conftest import Deliver


def ask(database: Database, sql: str, limits: Limits | None = None, **request: object) -> list[dict[str, object]]:
    with database.cursor() as cursor:
        answer = execute(cursor, QueryRequest(sql=sql, **request), limits)  # type: ignore[arg-type]
        return [row for batch in answer for row in pa.Table.from_batches([batch]).to_pylist()]


def failure(database: Database, sql: str, limits: Limits | None = None) -> QueryFailed:
    with pytest.raises(QueryFailed) as caught:
        ask(database, sql, limits)
    return caught.value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS one",
        "select 1 as one;",
        "FROM (VALUES (1)) t(one)",
        "WITH x AS (SELECT 1 AS one) SELECT * FROM x",
        "SELECT one FROM range(1, 2) r(one)",
        "-- note\nSELECT 1 AS one -- note",
    ],
)
def test_reads_are_allowed(database: Database, sql: str) -> None:
    assert ask(database, sql) == [{"one": 1}]


def test_parameters_are_bound(database: Database) -> None:
    assert ask(database, "SELECT ? AS a, ? AS b", parameters=[1, "x"]) == [{"a": 1, "b": "x"}]
    assert ask(database, "SELECT $a AS a", parameters={"a": "'; DROP TABLE messages"}) == [{"a": "'; DROP TABLE messages"}]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT 1; SELECT 2",
        "DELETE FROM messages",
        "UPDATE messages SET topic = ''",
        "INSERT INTO messages SELECT * FROM messages",
        "DROP TABLE messages",
        "TRUNCATE messages",
        "CREATE TABLE x (a INT)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "ALTER TABLE messages DROP COLUMN topic",
        "ATTACH '/tmp/other.duckdb'",
        "DETACH scaup",
        "USE memory",
        "COPY messages TO '/tmp/out.csv'",
        "COPY (SELECT 1) TO '/tmp/out.parquet'",
        "EXPORT DATABASE '/tmp/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "RESET memory_limit",
        "PRAGMA memory_limit='100GB'",
        "PRAGMA database_size",
        "CALL pragma_version()",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "EXPLAIN ANALYZE SELECT 1",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM (SELECT * FROM read_text('/etc/passwd'))",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))",
        "WITH x AS (FROM read_text('/etc/passwd')) SELECT 1 UNION ALL SELECT count(*) FROM x",
        "SELECT * FROM query('DELETE FROM messages')",
        "SELECT * FROM query_table('messages')",
        "SELECT * FROM checkpoint()",
        "SELECT * FROM force_checkpoint()",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM pragma_user_agent()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM seq_scan('messages')",
        "SELECT * FROM test_all_types()",
        "SELECT * FROM which_secret('x', 'y')",
        "SELECT * FROM python_map_function()",
    ],
)
def test_other_statements_are_refused(database: Database, sql: str) -> None:
    assert failure(database, sql).error.kind == "refused"
    assert ask(database, "SELECT count(*) AS n FROM messages") == [{"n": 0}]


@pytest.mark.parametrize("sql", ["SELECT * FROM '/etc/passwd'", "SELECT nextval('s')", "SELECT getenv('HOME')", "FROM sys"])
def test_names_reach_no_files_python_or_environment(database: Database, sql: str) -> None:
    assert failure(database, sql).error.kind in ("refused", "invalid")


@pytest.mark.parametrize(
    ("sql", "position"),
    [
        ("selec 1", 0),
        ("SELECT * FROM nope", 14),
        ("SELECT nope FROM messages", 7),
        ("SELECT topic,\n  nope\nFROM messages", 16),
        ("SELECT 'é', nope FROM messages", 12),
    ],
)
def test_wrong_sql_has_the_position_of_the_error(database: Database, sql: str, position: int | None) -> None:
    error = failure(database, sql).error
    assert error.kind == "invalid"
    assert error.position == position
    assert "LINE" not in error.message


def test_long_deep_and_cut_off_statements_are_errors(database: Database) -> None:
    assert failure(database, "SELECT 1 -- " + "x" * MAX_SQL_CHARACTERS).error.kind == "limit"
    deep = failure(database, "SELECT * FROM " + "(FROM " * 600 + "range(1)" + ")" * 600).error
    assert "nested too deeply" in deep.message or "depth limit" in deep.message  # DuckDB 1.5 gives up earlier
    assert failure(database, "SELECT 1\0; DELETE FROM messages").error.kind == "refused"
    assert ask(database, "SELECT " + "abs(" * 100 + "1" + ")" * 100 + " AS one") == [{"one": 1}]


@pytest.mark.parametrize("name", ["/etc/passwd", "x.parquet", "*", "a?b", "c:\\x", "[a]"])
def test_name_that_could_be_a_file_is_refused(database: Database, name: str) -> None:
    assert failure(database, f'SELECT * FROM "{name}"').error.kind == "refused"


def test_long_query_is_stopped(database: Database) -> None:
    started_s = time.monotonic()
    error = failure(
        database, "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c", Limits(timeout_s=0.3)
    ).error
    assert (error.kind, "stopped after 0.3 s" in error.message) == ("limit", True)
    assert time.monotonic() - started_s < 10


def test_waiting_counts_toward_the_timeout(database: Database) -> None:
    started_s = time.monotonic()
    error = failure(database, "SELECT count(*) FROM range(1000000000000)", Limits(timeout_s=20.0, waited_s=19.7)).error
    assert "stopped after 20 s, 19.7 s of them waiting for its turn" in error.message
    assert time.monotonic() - started_s < 15


@pytest.mark.parametrize(
    "sql",
    ["SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)", "SELECT a.range FROM range(900000000) a ORDER BY 1 DESC"],
)
def test_query_that_needs_much_memory_is_stopped(database: Database, sql: str) -> None:
    assert failure(database, sql).error.kind == "limit"
    assert ask(database, "SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(("rows", "truncated"), [(1, True), (9_999, True), (10_000, False), (10_001, False)])
def test_row_limit_marks_result_as_truncated(database: Database, rows: int, truncated: bool) -> None:
    with database.cursor() as cursor:
        answer = execute(cursor, QueryRequest(sql="SELECT * FROM range(10000)", max_rows=rows))
        assert sum(batch.num_rows for batch in answer) == min(rows, 10_000)
        assert answer.truncated is truncated


def test_request_cannot_raise_the_limits(database: Database) -> None:
    assert len(ask(database, "SELECT * FROM range(100)", Limits(max_rows=10), max_rows=1_000_000)) == 10


def test_too_large_result_is_stopped(database: Database) -> None:
    error = failure(database, "SELECT repeat('x', 1000) FROM range(10000)", Limits(max_bytes=100_000)).error
    assert error.kind == "limit"


def test_closed_database_is_read_without_the_recorder(database: Database, deliver: Deliver) -> None:
    database.commit(arrow_table([deliver("t", b"1")], 1, StreamCodes()))
    database.close()
    connection = open_read_only(database.path)
    batches = list(execute(connection, QueryRequest(sql="SELECT topic FROM messages")))
    assert pa.Table.from_batches(batches).to_pylist() == [{"topic": "t"}]
    connection.close()


def test_missing_file_is_an_error(database: Database) -> None:
    with pytest.raises(DatabaseMissing, match="make up"):
        open_read_only(database.path.with_name("other.duckdb"))


def test_reader_does_not_begin_while_a_recorder_starts(tmp_path: Path) -> None:
    path = tmp_path / "scaup.duckdb"
    open_database(path).close()
    with hold_lock(path), pytest.raises(DatabaseLocked, match=f"held by process {os.getpid()}"):
        open_read_only(path)
    open_read_only(path).close()


def test_file_in_use_is_an_error(database: Database) -> None:
    import subprocess
    import sys

    code = (
        "from storage.query.sandbox import open_read_only; from pathlib import Path; "
        f"open_read_only(Path({str(database.path)!r}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert DatabaseLocked.__name__ in other.stderr
