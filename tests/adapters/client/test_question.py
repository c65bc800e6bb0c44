"""The protocol of `storage/query`, message by message."""

import json
from typing import Any

import pytest

from adapters.client.bus import Received
from adapters.client.errors import CommandError, Failed, Refused, Unreachable, WrongUsage
from adapters.client.question import Part, Question
from adapters.client.recorder import query_error, take
from broker.contract.storage.topics import QueryEnd, QueryError, QueryRequest
from tests.adapters.cli.fakes import START_AT

QUESTION = QueryRequest(sql="SELECT 1")


@pytest.fixture
def question() -> Question:
    return Question(QUESTION, "me")


def part(question: Question, number: object, payload: bytes = b"[]") -> Received:
    return message(question, payload, (("part", str(number)),))


def end(question: Question, **fields: Any) -> Received:
    given = {"rows": 0, "chunks": 0, "elapsed_s": 0.1, "columns": [], "truncated": False, "error": None, **fields}
    return message(question, json.dumps(given).encode(), (("final", "true"), ("parts", str(given["chunks"]))))


def message(question: Question, payload: bytes, user: tuple[tuple[str, str], ...] = ()) -> Received:
    return Received(
        topic="storage/answer/me", payload=payload, at=START_AT, correlation_data=question.correlation_data, user=user
    )


def test_the_request_says_where_to_answer(question: Question) -> None:
    assert question.response_topic == "storage/answer/me"
    assert question.publication.correlation_data == question.correlation_data
    assert json.loads(question.publication.payload)["sql"] == "SELECT 1"


def test_questions_are_told_apart() -> None:
    first, second = Question(QUESTION, "me"), Question(QUESTION, "me")
    assert first.correlation_data != second.correlation_data
    assert not second.is_answer(part(first, 1))


def test_parts_in_their_order_and_the_end(question: Question) -> None:
    assert isinstance(question.take(part(question, 1)), Part)
    assert isinstance(question.take(part(question, 2)), Part)
    assert not question.finished
    assert isinstance(question.take(end(question, chunks=2)), QueryEnd)
    assert question.finished


def test_a_part_that_came_twice_is_taken_once(question: Question) -> None:
    question.take(part(question, 1))
    assert question.take(part(question, 1)) is None


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_missing_part_is_noticed_at_the_next_one(question: Question, number: int) -> None:
    if number == 0:
        assert question.take(part(question, number)) is None
        return
    with pytest.raises(Unreachable, match="part 1 of the answer was lost"):
        question.take(part(question, number))


@pytest.mark.parametrize("chunks", [2, 7])
def test_a_missing_part_is_noticed_at_the_end(question: Question, chunks: int) -> None:
    question.take(part(question, 1))
    with pytest.raises(Unreachable, match=f"{chunks - 1} of {chunks} parts"):
        question.take(end(question, chunks=chunks))


@pytest.mark.parametrize("number", ["", "x", "1.5", "-1", "²", None])
def test_a_part_without_a_number_is_no_answer(question: Question, number: str | None) -> None:
    with pytest.raises(Unreachable, match="number"):
        question.take(message(question, b"[]", () if number is None else (("part", number),)))


def test_a_wrong_end_is_no_answer(question: Question) -> None:
    with pytest.raises(Unreachable, match="something else"):
        question.take(message(question, b"not json", (("final", "true"),)))


def test_an_error_after_some_parts_is_the_error(question: Question) -> None:
    question.take(part(question, 1))
    with pytest.raises(Refused, match="too slow"):
        take(question, end(question, chunks=5, error={"kind": "limit", "message": "too slow"}))


def test_messages_for_others_bring_nothing(question: Question) -> None:
    assert take(question, Received(topic="storage/answer/me", payload=b"", at=START_AT, correlation_data=b"other")) is None
    assert take(question, Received(topic="storage/answer/other", payload=b"", at=START_AT)) is None


def test_a_recorder_that_stops_ends_the_wait(question: Question) -> None:
    said = b'{"state":"offline","boot":"b","version":"1"}'
    with pytest.raises(Unreachable, match="stopped"):
        take(question, Received(topic="components/recorder/state", payload=said, at=START_AT))
    assert take(question, Received(topic="components/recorder/state", payload=b"?", at=START_AT)) is None


@pytest.mark.parametrize(
    ("kind", "expected", "code"),
    [
        ("refused", Refused, 4),
        ("limit", Refused, 4),
        ("invalid", WrongUsage, 2),
        ("failed", Failed, 1),
        ("new kind", Failed, 1),
    ],
)
def test_kinds_of_errors(kind: str, expected: type[CommandError], code: int) -> None:
    error = query_error(QueryError(kind, "no"), "SELECT 1")
    assert type(error) is expected
    assert error.exit_code == code
    assert error.fix


@pytest.mark.parametrize(
    ("sql", "position", "line", "caret"),
    [
        ("SELEC 1", 0, "SELEC 1", 0),
        ("SELECT\n  topi\nFROM messages", 9, "  topi", 2),
        ("SELECT 1", 8, "SELECT 1", 8),
    ],
)
def test_the_place_of_an_error_is_shown(sql: str, position: int, line: str, caret: int) -> None:
    shown = query_error(QueryError("invalid", "wrong", position), sql).message.splitlines()
    assert shown == ["wrong", f"  {line}", f"  {' ' * caret}^"]


def test_a_long_line_is_shown_around_the_place() -> None:
    sql = "SELECT " + "a, " * 200 + "wrong FROM t"
    _, line, caret = query_error(QueryError("invalid", "x", sql.index("wrong")), sql).message.splitlines()
    assert line[caret.index("^") :].startswith("wrong")
    assert len(line) < 110


@pytest.mark.parametrize("position", [None, -1, 99])
def test_without_a_place_there_is_no_caret(position: int | None) -> None:
    assert query_error(QueryError("invalid", "wrong", position), "SELECT").message == "wrong"
