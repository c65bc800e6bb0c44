import math

import pyarrow as pa
import pytest

from broker.contract.storage.topics import ARROW, JSON, AnswerFormat, QueryEnd, QueryRequest
from broker.message import Message, Publication, decode, decode_json, encode
from storage.database.database import Database
from storage.errors import QueryFailed
from storage.query import answers
from storage.query.answers import answer, closing, decode_request, may_answer
from storage.query.limits import Cancellation, Limits

TOPIC = "storage/answer/me"


def ask(database: Database, request: object) -> tuple[list[Publication], QueryEnd]:
    payload = request if isinstance(request, bytes) else encode(request)
    message = Message(topic="storage/query", payload=payload, response_topic=TOPIC, correlation_data=b"7")
    try:
        *parts, end = answer(message, decode_request(message), database, Limits(timeout_s=5), Cancellation())
    except QueryFailed as failure:
        parts, end = [], closing(message, failure.error)
    assert {(each.topic, each.correlation_data) for each in (*parts, end)} == {(TOPIC, b"7")}
    assert [each.properties for each in parts] == [(("part", str(n + 1)),) for n in range(len(parts))]
    assert end.properties == (("final", "true"), ("parts", str(len(parts))))
    return parts, decode(end.payload, QueryEnd)


def rows(database: Database, sql: str) -> object:
    parts, end = ask(database, QueryRequest(sql=sql))
    assert end.error is None
    return [row for part in parts for row in decode_json(part.payload)]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("1", 1),
        ("sum(1)", 1),
        ("1.50::DECIMAL(5,2)", 1.5),
        ("170141183460469231731687303715884105727::HUGEINT", 1.7014118346046923e38),
        ("NULL", None),
        ("'é'", "é"),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("{'a': 1}", {"a": 1}),
        ("'\\xFF'::BLOB", "/w=="),
        ("TIMESTAMPTZ '2026-01-31 08:00:00.5+01'", "2026-01-31T07:00:00.500000Z"),
        ("TIMESTAMP_NS '2026-01-31 08:00:00.123456789'", "2026-01-31T08:00:00.123456789"),
        ("DATE '2026-01-31'", "2026-01-31"),
        ("'infinity'::DATE", "infinity"),
        ("'-infinity'::TIMESTAMP", "-infinity"),
        ("'infinity'::TIMESTAMPTZ", "infinity"),
        ("TIMESTAMPTZ '290000-01-31 08:00:00Z'", "290000-01-31T08:00:00Z"),
        ("TIMESTAMP '9999-12-31 23:59:59'", "9999-12-31T23:59:59.000000"),
        ("TIMESTAMP '0100-01-31 (BC) 08:00:00'", "0100-01-31T08:00:00 (BC)"),
        ("[DATE '290000-01-31']", ["290000-01-31"]),
        ("'nan'::DOUBLE", None),
    ],
)
def test_values_in_json(database: Database, sql: str, value: object) -> None:
    assert rows(database, f"SELECT {sql} AS v") == [{"v": value}]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**37 + 1])
def test_large_whole_numbers_are_exact_in_json(database: Database, number: int) -> None:
    (part,), _ = ask(database, QueryRequest(sql=f"SELECT {number}::HUGEINT AS v"))
    assert part.payload == b'[{"v":%d}]' % number


@pytest.mark.parametrize(
    "sql", ["'infinity'::TIMESTAMP", "TIMESTAMPTZ '0001-01-01 00:00:00+23:59'", "INTERVAL 1 DAY", "uuid()", "'a'::ENUM('a')"]
)
def test_odd_values_are_answered(database: Database, sql: str) -> None:
    ask(database, QueryRequest(sql=f"SELECT {sql} AS v"))


def test_query_too_deep_to_check_is_answered(database: Database) -> None:
    _, end = ask(database, QueryRequest(sql="SELECT " + "+".join("1" * 20_000)))
    assert end.error is None or end.error.kind in ("failed", "refused", "invalid")


def test_arrow_parts_are_whole_streams(database: Database) -> None:
    request = QueryRequest(sql="SELECT range AS n, repeat('x', 100) AS t FROM range(20000)", format=AnswerFormat.ARROW)
    parts, end = ask(database, request)
    assert {part.content_type for part in parts} == {ARROW}
    tables = [pa.ipc.open_stream(part.payload).read_all() for part in parts]
    assert len(tables) == end.chunks > 1
    assert [n for table in tables for n in table.column("n").to_pylist()] == list(range(20_000))
    assert (end.rows, end.columns, end.truncated) == (20_000, ["n", "t"], False)


def test_empty_result_has_its_columns(database: Database) -> None:
    parts, end = ask(database, QueryRequest(sql="SELECT topic FROM messages"))
    assert [part.payload for part in parts] == [b"[]"]
    assert parts[0].content_type == JSON
    assert end.columns == ["topic"]


@pytest.mark.parametrize("request_", [b"", b"x", b"{}", b'{"sql":""}', b'{"sql":1}', b'{"sql":"SELECT 1","more":1}', b"\xff"])
def test_unusable_request_is_answered(database: Database, request_: bytes) -> None:
    parts, end = ask(database, request_)
    assert parts == []
    assert end.error is not None
    assert end.error.kind == "invalid"


def test_closed_database_is_an_error(database: Database) -> None:
    database.close()
    _, end = ask(database, QueryRequest(sql="SELECT 1"))
    assert end.error is not None
    assert (end.error.kind, "not open" in end.error.message) == ("failed", True)


def test_elapsed_time_is_a_number(database: Database) -> None:
    _, end = ask(database, QueryRequest(sql="SELECT 1"))
    assert math.isfinite(end.elapsed_s)


@pytest.mark.parametrize(
    "topic", [None, "", "storage/answer", "storage/answer/+", "storage/answer/#", "storage/answer/a/", "/actuators/r"]
)
def test_only_answer_topics_are_allowed(topic: str | None) -> None:
    assert not may_answer(Message(topic="storage/query", payload=b"", response_topic=topic))
    for each in (TOPIC, f"{TOPIC}/2"):
        assert may_answer(Message(topic="storage/query", payload=b"", response_topic=each))


def test_too_large_part_is_not_counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_PART_BYTES", 1_000)
    parts, end = ask(
        database, QueryRequest(sql="SELECT repeat('x', CASE WHEN range < 9 THEN 1 ELSE 300000 END) FROM range(10)")
    )
    assert end.chunks == len(parts)
    assert end.error is not None
    assert end.error.kind == "limit"


@pytest.mark.parametrize("form", list(AnswerFormat))
def test_few_long_rows_among_short_ones(database: Database, form: AnswerFormat) -> None:
    sql = "SELECT i, repeat('x', CASE WHEN i IN (1000, 1001) THEN 40000000 ELSE 1 END) AS p FROM range(2048) t(i)"
    parts, end = ask(database, QueryRequest(sql=sql, format=form))
    assert (end.error, end.rows) == (None, 2048)
    assert sum(len(part.payload) > 30_000_000 for part in parts) == 2


@pytest.mark.parametrize(
    "value",
    [
        "repeat('x', CASE WHEN i % 7 = 0 THEN 8000 ELSE 1 END)",
        "repeat('\x01', 9000)",
        "repeat('x', CASE WHEN i = 9 THEN 9000 ELSE 100 END)",
        "[repeat('x', CASE WHEN i = 9 THEN 9000 ELSE 1 END)]",
        "{'a': [{'b': repeat('x', CASE WHEN i = 9 THEN 9000 ELSE 1 END)}]}",
        "MAP {i: repeat('x', CASE WHEN i = 9 THEN 9000 ELSE 1 END)::BLOB}",
        "i = 9",
        "NULL",
    ],
)
@pytest.mark.parametrize("form", list(AnswerFormat))
def test_no_part_is_large_unless_a_row_is(
    database: Database, value: str, form: AnswerFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What rows take differs: in size, in nested columns, and in JSON, where control characters are six times as long."""
    monkeypatch.setattr(answers, "MAX_PART_BYTES", 60_000)
    monkeypatch.setattr(answers, "PART_BYTES", 4_000)
    name = "n" * 60
    parts, end = ask(database, QueryRequest(sql=f'SELECT {value} AS "{name}" FROM range(3000) t(i)', format=form))
    assert (end.error, end.rows) == (None, 3000)
    assert max(len(part.payload) for part in parts) <= 60_000


def test_short_rows_before_the_longest_possible(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_PART_BYTES", 1_000_000)
    sql = "SELECT repeat('x', CASE WHEN i = 2000 THEN 999000 ELSE 100 END) AS p FROM range(2048) t(i)"
    _, end = ask(database, QueryRequest(sql=sql))
    assert (end.error, end.rows) == (None, 2048)


def test_row_beyond_the_largest_payload_is_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_PART_BYTES", 1_000_000)
    _, end = ask(database, QueryRequest(sql="SELECT repeat('x', 1000000) AS p FROM range(3)"))
    assert end.error is not None
    assert "a row takes more than" in end.error.message


def test_dictionary_is_not_what_rows_take(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PART_BYTES", 4_000)
    names = ", ".join(f"'{n:0100}'" for n in range(100))
    request = QueryRequest(sql=f"SELECT '{1:0100}'::ENUM({names}) AS v FROM range(2000)", format=AnswerFormat.ARROW)
    parts, end = ask(database, request)
    assert (end.rows, len(parts)) == (2000, 1)
