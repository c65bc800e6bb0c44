"""Answers of the recorder, message by message, and their errors."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from adapters.cli.notices import exit_code
from adapters.client.answers import Answer, arriving, arrow_request, query_error
from adapters.client.bus import Received
from adapters.client.errors import BrokenReply, ClientError, Failed, NotOnline, Refused, Unreachable, WrongUsage
from adapters.client.recorder import RECORDER
from broker.contract.storage import answers
from broker.contract.storage.topics import ARROW, QueryError
from broker.exchange import Exchange, Final, Part
from broker.message import Publication
from tests.adapters.client.fakes import START_AT, arrow_stream

TOPIC = "storage/answer/me"


class Reply:
    """A query that waits, and the messages of its reply."""

    def __init__(self) -> None:
        self.exchange = Exchange(TOPIC, b"8 random")
        self.request = self.ask()
        self.messages: list[Received] = []

    def ask(self) -> Publication:
        return self.exchange.request(answers.query(arrow_request("SELECT 1", {})))

    def message(self, payload: bytes, *properties: tuple[str, str], content_type: str = ARROW) -> Received:
        return Received(
            topic=TOPIC,
            payload=payload,
            at=START_AT,
            correlation_data=self.request.correlation_data,
            content_type=content_type,
            properties=properties,
        )

    def part(self, number: int, *values: int, **more: Any) -> "Reply":
        self.messages.append(self.message(arrow_stream(pa.table({"n": values})), ("part", str(number)), **more))
        return self

    def end(self, parts: int, **fields: Any) -> "Reply":
        given = {"rows": 0, "chunks": parts, "elapsed_s": 0.1, "columns": [], "truncated": False, "error": None, **fields}
        self.messages.append(self.message(json.dumps(given).encode(), ("final", "true"), ("parts", str(parts))))
        return self

    def answer(self) -> Answer:
        return arriving(self._events(), "SELECT 1")

    def _events(self) -> Iterator[Part | Final]:
        for each in self.messages:
            if (event := RECORDER.take(self.exchange, each)) is not None:
                yield event


@pytest.fixture
def reply() -> Reply:
    return Reply()


def numbers(answer: Answer) -> list[int]:
    return [row["n"] for row in answer.all_rows()]


def test_request_names_the_response_topic(reply: Reply) -> None:
    assert (reply.request.topic, reply.request.response_topic) == ("storage/query", TOPIC)
    assert json.loads(reply.request.payload) | {"sql": "SELECT 1", "format": "arrow"} == json.loads(reply.request.payload)


def test_reply_to_another_request_is_ignored(reply: Reply) -> None:
    other = reply.ask()
    assert other.correlation_data != reply.request.correlation_data
    reply.exchange.forget(reply.request.correlation_data or b"")
    assert RECORDER.take(reply.exchange, reply.part(1).messages[0]) is None


def test_parts_are_read_in_their_order(reply: Reply) -> None:
    assert numbers(reply.part(1, 1, 2).part(2, 3).end(2).answer()) == [1, 2, 3]


def test_part_that_comes_twice_is_read_once(reply: Reply) -> None:
    assert numbers(reply.part(1, 1).part(1, 1).part(2, 2).end(2).answer()) == [1, 2]


@pytest.mark.parametrize("number", [2, 3])
def test_lost_part_is_an_error_at_the_next_one(reply: Reply, number: int) -> None:
    with pytest.raises(BrokenReply, match="part 1 of the reply was lost"):
        reply.part(number).answer()


@pytest.mark.parametrize("parts", [2, 7])
def test_lost_part_is_an_error_at_the_end(reply: Reply, parts: int) -> None:
    answer = reply.part(1, 1).end(parts).answer()
    with pytest.raises(BrokenReply, match=f"{parts - 1} of {parts} parts"):
        numbers(answer)


@pytest.mark.parametrize("number", ["", "x", "1.5", "-1", "²"])
def test_part_without_a_number_is_an_error(reply: Reply, number: str) -> None:
    reply.messages.append(reply.message(b"", ("part", number)))
    with pytest.raises(BrokenReply, match="whole number"):
        reply.answer()


def test_end_that_cannot_be_read_is_an_error(reply: Reply) -> None:
    reply.messages.append(reply.message(b"not json", ("final", "true"), ("parts", "0")))
    with pytest.raises(BrokenReply, match="no readable end"):
        reply.answer()


@pytest.mark.parametrize(("payload", "content_type"), [(b"no stream", ARROW), (b"[]", "application/json")])
def test_part_that_is_no_arrow_stream_is_an_error(reply: Reply, payload: bytes, content_type: str) -> None:
    reply.messages.append(reply.message(payload, ("part", "1"), content_type=content_type))
    with pytest.raises(BrokenReply, match=r"Arrow|answered in"):
        reply.answer()


def test_error_after_some_parts_is_raised(reply: Reply) -> None:
    answer = reply.part(1, 1).end(1, error={"kind": "limit", "message": "too slow"}).answer()
    with pytest.raises(Refused, match="too slow"):
        numbers(answer)


def test_truncated_answer_is_known_after_its_rows(reply: Reply) -> None:
    answer = reply.part(1, 1).end(1, truncated=True).answer()
    assert not answer.truncated
    assert list(answer.rows.rows()) == [(1,)]
    assert answer.truncated


def test_truncated_answer_is_an_error_where_all_rows_are_needed(reply: Reply) -> None:
    with pytest.raises(Refused, match="more than 1 rows"):
        numbers(reply.part(1, 1).end(1, truncated=True).answer())


def test_messages_for_others_are_ignored(reply: Reply) -> None:
    for topic, correlation_data in ((TOPIC, b"other"), ("storage/answer/other", reply.request.correlation_data)):
        message = Received(topic=topic, payload=b"", at=START_AT, correlation_data=correlation_data)
        assert RECORDER.take(reply.exchange, message) is None


def test_recorder_that_stops_ends_the_wait(reply: Reply) -> None:
    def state(payload: bytes) -> Received:
        return Received(topic="components/recorder/state", payload=payload, at=START_AT)

    assert RECORDER.take(reply.exchange, state(b"?")) is None
    with pytest.raises(NotOnline, match="stopped"):
        RECORDER.take(reply.exchange, state(b'{"state":"offline","boot":"b","version":"1"}'))


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
def test_kinds_of_query_errors(kind: str, expected: type[ClientError], code: int) -> None:
    error = query_error(QueryError(kind, "no"), "SELECT 1")
    assert type(error) is expected
    assert exit_code(error) == code
    assert error.fix


@pytest.mark.parametrize("error", [BrokenReply("x"), NotOnline("x"), Unreachable("x")])
def test_missing_answer_has_exit_code_3(error: ClientError) -> None:
    assert exit_code(error) == 3


@pytest.mark.parametrize(
    ("sql", "position", "line", "caret"),
    [
        ("SELEC 1", 0, "SELEC 1", 0),
        ("SELECT\n  topi\nFROM messages", 9, "  topi", 2),
        ("SELECT 1", 8, "SELECT 1", 8),
    ],
)
def test_error_shows_its_place_in_the_sql(sql: str, position: int, line: str, caret: int) -> None:
    shown = query_error(QueryError("invalid", "wrong", position), sql).message.splitlines()
    assert shown == ["wrong", f"  {line}", f"  {' ' * caret}^"]


def test_long_line_is_cut_around_the_place() -> None:
    sql = "SELECT " + "a, " * 200 + "wrong FROM t"
    _, line, caret = query_error(QueryError("invalid", "x", sql.index("wrong")), sql).message.splitlines()
    assert line[caret.index("^") :].startswith("wrong")
    assert len(line) < 110


@pytest.mark.parametrize("position", [None, -1, 99])
def test_error_without_a_place_has_no_caret(position: int | None) -> None:
    assert query_error(QueryError("invalid", "wrong", position), "SELECT").message == "wrong"
