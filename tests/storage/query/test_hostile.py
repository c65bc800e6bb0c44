"""Statements that try to change, read or stop something forbidden: each is answered, and recording continues."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)
ANSWER_S = 20
SHORT_S, LONG_S = 0.3, 10.0
"""Time limits: of a query that is meant to exceed it, and of any other one, even on a busy machine."""
ENDS_S = 15
"""The longer time limit, a second of grace for queries that cannot be interrupted, and a margin."""


class Child:
    """A process with a database, which a statement may kill."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.storage.query.hostile_child", str(folder / "hostile.duckdb")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, sql: str, timeout_s: float = LONG_S) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"sql": sql, "timeout_s": timeout_s}).encode() + b"\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], ANSWER_S)[0], "no answer"
        line = self.process.stdout.readline()
        assert line, f"the process died: {self.process.wait(5)}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Child]]:
    """The same child for many statements; a new one after a statement that killed it."""
    running: list[Child] = []

    def current() -> Child:
        if not running or running[-1].process.poll() is not None:
            running.append(Child(tmp_path_factory.mktemp("hostile")))
        return running[-1]

    yield current
    for each in running:
        each.end()


WRITES = """
WITH d AS (DELETE FROM messages RETURNING *) SELECT * FROM d
WITH i AS (INSERT INTO mqtt_session VALUES (99, now()) RETURNING *) SELECT * FROM i
WITH u AS (UPDATE mqtt_session SET session = 7 RETURNING 1) SELECT count(*) FROM u
WITH RECURSIVE d AS (DELETE FROM mqtt_session RETURNING 1) SELECT * FROM d
SELECT * FROM (WITH d AS (DELETE FROM mqtt_session RETURNING *) SELECT * FROM d)
SELECT (WITH d AS (DELETE FROM mqtt_session RETURNING 1) SELECT count(*) FROM d)
SELECT 1 INTO x
MERGE INTO mqtt_session USING mqtt_session m ON true WHEN MATCHED THEN DELETE
COPY (DELETE FROM mqtt_session RETURNING *) TO '/tmp/scaup-hostile.csv'
COPY messages TO '/tmp/scaup-hostile.csv'
COPY FROM DATABASE scaup TO memory
EXPORT DATABASE '/tmp/scaup-hostile'
IMPORT DATABASE '/tmp/scaup-hostile'
ATTACH ':memory:' AS other
ATTACH '/tmp/scaup-hostile.duckdb'
DETACH scaup
USE memory
INSTALL httpfs
FORCE INSTALL json
LOAD '/tmp/evil.duckdb_extension'
PRAGMA enable_profiling
PRAGMA disable_checkpoint_on_shutdown
PRAGMA memory_limit = '100GB'
SET lock_configuration = false
SET GLOBAL threads = 1
SET SESSION search_path = 'temp'
SET VARIABLE x = 1
RESET lock_configuration
RESET ALL
CALL enable_logging()
CALL force_checkpoint()
CHECKPOINT
FORCE CHECKPOINT
VACUUM
VACUUM ANALYZE
CREATE TEMP TABLE x AS SELECT 1
CREATE OR REPLACE TEMP VIEW messages AS SELECT 1
CREATE MACRO now() AS 1
CREATE TYPE t AS ENUM ('a')
CREATE SEQUENCE s
CREATE SECRET (TYPE s3)
COMMENT ON TABLE mqtt_session IS 'x'
DROP VIEW IF EXISTS messages
ALTER TABLE mqtt_session RENAME TO m
PREPARE p AS DELETE FROM mqtt_session
EXECUTE p
DEALLOCATE p
EXPLAIN DELETE FROM mqtt_session
EXPLAIN ANALYZE DELETE FROM mqtt_session
BEGIN
BEGIN TRANSACTION READ WRITE
COMMIT
ROLLBACK
ABORT
(DELETE FROM mqtt_session)
SELECT 1; DELETE FROM mqtt_session
;;SELECT 1;DELETE FROM mqtt_session;;
SELECT 1 /* ; */ ; DROP TABLE mqtt_session -- x
SELECT 1\x00; DELETE FROM mqtt_session
SELECT 1\u037e DELETE FROM mqtt_session
SELECT query('DELETE FROM mqtt_session')
SELECT * FROM query('DELETE FROM mqtt_session')
SELECT json_execute_serialized_sql(json_serialize_sql('DELETE FROM mqtt_session'))
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('DELETE FROM mqtt_session'))
SELECT nextval('s')
SELECT write_blob('/tmp/scaup-hostile', 'a')
""".strip().split("\n")

READS = """
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_ndjson_objects('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM READ_TEXT('/etc/passwd')
SELECT * FROM "read_text"('/etc/passwd')
SELECT * FROM main.read_text('/etc/passwd')
SELECT * FROM system.main.read_text('/etc/passwd')
SELECT * FROM ｒｅａｄ_ｔｅｘｔ('/etc/passwd')
SELECT * FROM read_blob('/etc/*')
SELECT * FROM read_parquet('/tmp/*.parquet')
SELECT * FROM parquet_scan('/tmp/x.parquet')
SELECT * FROM parquet_metadata('/tmp/x.parquet')
SELECT * FROM read_duckdb('/tmp/x.duckdb')
SELECT * FROM glob('/**')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT read_text('/etc/passwd')
SELECT * FROM messages, LATERAL (FROM read_text('/etc/passwd'))
SELECT (SELECT content FROM read_text('/etc/passwd'))
SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))
SELECT 1 UNION ALL SELECT count(*) FROM read_text('/etc/passwd')
SELECT * FROM '/etc/passwd'
SELECT * FROM 'file.csv'
SELECT * FROM "file.parquet"
FROM '/tmp/*.json'
FROM 'https://example.org/x.parquet'
SELECT (SELECT count(*) FROM '/etc/passwd.csv')
DESCRIBE '/etc/passwd.csv'
SUMMARIZE '/etc/passwd.csv'
PIVOT '/etc/passwd.csv' ON a USING sum(b)
UNPIVOT '/etc/passwd.csv' ON a INTO NAME n VALUE v
SELECT * FROM messages SEMI JOIN '/etc/passwd.csv' ON true
FROM query_table('messages')
FROM query_table(['/etc/passwd.csv'])
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_logs()
SELECT * FROM which_secret('a', 's3')
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT * FROM sqlite_scan('a', 'b')
SELECT * FROM pragma_storage_info('messages')
SELECT * FROM names
SELECT * FROM sys
SELECT * FROM database
SELECT getenv('HOME')
""".strip().split("\n")

BOMBS = [
    "SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b",
    "SELECT list_sum(range(3000000000))",
    "SELECT repeat('x', 1000000000)",
    "SELECT repeat('x', 4000000000)",
    "SELECT repeat('x', 1000000) FROM range(100000)",
    "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)",
    "SELECT list(range) FROM range(3000000000)",
    "SELECT generate_series(1, 2000000000)",
    "SELECT unnest(range(2000000000))",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t, range(100)) SELECT * FROM t",
    "SELECT count(*) FROM range(99999) a, range(99999) b WHERE regexp_matches(a.range::VARCHAR || b.range, '(1+)+$')",
    "SELECT row_number() OVER (ORDER BY a.range * b.range) FROM range(100000) a, range(100000) b",
    "SELECT count(*) FROM range(100000000) a, LATERAL (SELECT * FROM generate_series(1, a.range)) b",
    "SELECT a.range FROM range(900000000) a ORDER BY hash(a.range)",
    "SELECT count(DISTINCT a.range * 1000003 + b.range) FROM range(100000) a, range(100000) b",
    "SELECT histogram(a.range) FROM range(1000000000) a",
    "SELECT json_group_array(range) FROM range(1000000000)",
    "SELECT list_transform(range(100000000), lambda x: list_sum(range(x)))",
    "SELECT levenshtein(repeat('a', 50000), repeat('b', 50000))",
    "SELECT rpad('x', 2000000000, 'y')",
    "SELECT replace(repeat('a', 10000000), 'a', repeat('b', 10000))",
    "SELECT array_to_string(range(200000000), ',')",
    "SELECT to_json(range(300000000))",
    "SELECT map_from_entries(list_zip(range(100000000), range(100000000)))",
    "SELECT ascii(list_aggregate(list_transform(range(1000000), lambda x: repeat('x', 10000)), 'string_agg', ''))",
    "SELECT json(repeat('[', 10000000))",
    "SELECT * FROM range(1000000000000) LIMIT 1 OFFSET 999999999999",
]

LONG = [
    "SELECT 1 " + "UNION ALL SELECT 1 " * 50_000,
    "SELECT " + ",".join("1" * 100_000),
    "SELECT 1 IN (" + ",".join("1" * 100_000) + ")",
    "SELECT 1 -- " + "x" * 2_000_000,
]
"""Invalid if there is no memory to read a request of a megabyte."""

DEEP = [
    text
    for depth in (300, 3_000, 10_000)
    for text in (
        "SELECT " + "(" * depth + "1" + ")" * depth,
        "SELECT " + "CASE WHEN true THEN " * depth + "1" + " END" * depth,
        "SELECT * FROM " + "(FROM " * depth + "range(1)" + ")" * depth,
        "SELECT " + "(SELECT " * depth + "1" + ")" * depth,
        "SELECT " + "EXISTS(" * depth + "SELECT 1" + ")" * depth,
        "SELECT " + "[" * depth + "1" + "]" * depth,
        "SELECT NULL::INT" + "[]" * depth,
        "SELECT " + "+".join("1" * depth),
        "WITH " + "a AS (WITH " * depth + "a AS (SELECT 1) SELECT 1" + ") SELECT 1" * depth,
        "SELECT 1" + " UNION ALL SELECT 1" * depth,
        "SELECT " + "list_transform([1], x -> " * depth + "x" + ")" * depth,
        "FROM range(1)" + ", range(1)" * depth,
    )
]

HARMLESS = """
SELECT '; DELETE FROM messages'
SELECT $$; DELETE FROM messages$$
SELECT 1 /* DELETE FROM messages */
SELECT 1 -- ; DELETE FROM messages
SELECT "read_text('/etc/passwd')" FROM (SELECT 1 AS "read_text('/etc/passwd')")
SELECT 'a' || chr(0) || 'b'
SELECT json_serialize_sql('SELECT 1')
SELECT current_setting('memory_limit')
SELECT getvariable('x')
SELECT * FROM duckdb_settings()
SELECT * FROM information_schema.tables
DESCRIBE messages
SUMMARIZE messages
FROM messages
SELECT 'infinity'::DATE, '-infinity'::DATE
SELECT 'infinity'::TIMESTAMP, '-infinity'::TIMESTAMPTZ
SELECT TIMESTAMP '290000-01-01', DATE '290000-01-01', TIMESTAMP '0100-01-01 (BC)'
SELECT [TIMESTAMP 'infinity', NULL], {'d': DATE '-infinity'}
SELECT MAP {DATE 'infinity': TIMESTAMP '290000-01-01'}
SELECT 170141183460469231731687303715884105727::HUGEINT
SELECT 340282366920938463463374607431768211455::UHUGEINT
SELECT 123456789012345678901234567890::BIGNUM
SELECT 99999999999999999999999999999999999999::DECIMAL(38,0), 0.00000000000000000000000000000000000001::DECIMAL(38,38)
SELECT '010101'::BIT
SELECT INTERVAL '3 months 2 days 5 seconds'
SELECT union_value(a := 1)
SELECT MAP {{'a': 1}: [1, NULL]}
SELECT [NULL, [NULL, {'a': NULL}]]
SELECT '\\x00\\xFF'::BLOB
SELECT uuid()
SELECT '23:59:59.123456789'::TIME_NS, '24:00:00'::TIME
SELECT '12:00:00+15:59'::TIMETZ
SELECT TIMESTAMP_NS '2262-04-11 23:47:16.854775806'
SELECT 'a'::ENUM('a', 'b')
SELECT [1, 2, 3]::INT[3]
SELECT 1 AS a, 2 AS a
SELECT 'nan'::DOUBLE, 'inf'::FLOAT
SELECT MAP {}
""".strip().split("\n")

UNSUPPORTED = ["SELECT {'a': 1}::VARIANT"]
"""DuckDB 1.5 has the type, but not in Arrow."""

STATEMENTS = [
    *((sql, {"harmless"}) for sql in HARMLESS),
    *((sql, {"harmless", "failed"}) for sql in UNSUPPORTED),
    *((sql, {"refused", "invalid"}) for sql in (*WRITES, *READS)),
    *((sql, {"limit", "invalid"}) for sql in LONG),
    *((sql, {"refused", "limit", "invalid", "harmless"}) for sql in DEEP),
    *((sql, {"limit"}) for sql in BOMBS),
]


@pytest.mark.parametrize(("sql", "allowed"), STATEMENTS, ids=[sql[:50] for sql, _ in STATEMENTS])
def test_recording_survives_hostile_statements(child: Callable[[], Child], sql: str, allowed: set[str]) -> None:
    answer = child().ask(sql, SHORT_S if "limit" in allowed else LONG_S)
    assert answer["kind"] in allowed, answer["message"]
    assert answer["unchanged"], "tables or settings changed"
    assert answer["grown"] == 1, "the batch after it was not committed once"
    assert answer["took_s"] < ENDS_S


@pytest.mark.timeout(240)
def test_memory_and_turns_are_released(child: Callable[[], Child]) -> None:
    deadline_s = time.monotonic() + 200  # some statements above cannot be interrupted: they have to end by themselves
    while (answer := child().ask("SELECT 1"))["kind"] != "harmless":
        assert time.monotonic() < deadline_s, answer["message"]
        time.sleep(0.5)
