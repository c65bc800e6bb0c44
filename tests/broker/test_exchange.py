import msgspec
import pytest

from broker.contract.storage.answers import AnswerError, AnswerTruncated, end, query, rows
from broker.contract.storage.topics import QueryEnd, QueryError, QueryRequest
from broker.exchange import Exchange, Final, IncompleteReply, MalformedReply, Part, final, part
from broker.message import Message, Publication, encode

TOPIC = "storage/answer/me"
JSON = "application/json"
QUESTION = Publication(topic="storage/query", payload=b"{}")


def received(publication: Publication) -> Message:
    """Return a publication as its subscribers receive it."""
    return Message(
        topic=publication.topic,
        payload=publication.payload,
        response_topic=publication.response_topic,
        correlation_data=publication.correlation_data,
        content_type=publication.content_type,
        properties=publication.properties,
    )


def asked() -> tuple[Exchange, Message]:
    exchange = Exchange(TOPIC, b"start")
    return exchange, received(exchange.request(QUESTION))


def marked(request: Message, *properties: tuple[str, str]) -> Message:
    return Message(topic=TOPIC, payload=b"", correlation_data=request.correlation_data, properties=properties)


def test_request_has_response_topic_and_own_correlation_data() -> None:
    exchange = Exchange(TOPIC, b"start")
    first, second = exchange.request(QUESTION), exchange.request(QUESTION)
    assert (first.topic, first.payload, first.response_topic) == ("storage/query", b"{}", TOPIC)
    assert first.correlation_data != second.correlation_data
    assert all((each.correlation_data or b"") in exchange for each in (first, second))
    assert len(exchange) == 2


def test_requests_of_two_starts_differ() -> None:
    assert Exchange(TOPIC, b"1").request(QUESTION) != Exchange(TOPIC, b"2").request(QUESTION)


def test_unmarked_message_is_a_whole_reply() -> None:
    exchange, request = asked()
    message = marked(request)
    assert exchange.take(message) == Final(request.correlation_data or b"", 0, message)
    assert len(exchange) == 0
    assert exchange.take(message) is None


def test_parts_and_final_message_are_a_whole_reply() -> None:
    exchange, request = asked()
    messages = [received(part(request, n, b"%d" % n, JSON)) for n in (1, 2)] + [received(final(request, 2, b"end", JSON))]
    taken = [exchange.take(message) for message in messages]
    correlation_data = request.correlation_data or b""
    assert taken == [
        Part(correlation_data, 1, messages[0]),
        Part(correlation_data, 2, messages[1]),
        Final(correlation_data, 2, messages[2]),
    ]
    assert correlation_data not in exchange
    assert [message.topic for message in messages] == [TOPIC] * 3


def test_redelivered_part_is_ignored() -> None:
    exchange, request = asked()
    first, second = (received(part(request, n, b"", JSON)) for n in (1, 2))
    assert [exchange.take(each) is not None for each in (first, first, second, first, second)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert isinstance(exchange.take(received(final(request, 2, b"", JSON))), Final)


@pytest.mark.parametrize(
    ("numbers", "parts", "lost"),
    [
        ([2], None, "part 1 of the reply was lost: part 2 arrived instead"),
        ([1, 3], None, "part 2 of the reply was lost: part 3 arrived instead"),
        ([], 1, "1 of 1 parts of the reply were lost"),
        ([1], 3, "2 of 3 parts of the reply were lost"),
    ],
)
def test_lost_part_is_an_error(numbers: list[int], parts: int | None, lost: str) -> None:
    exchange, request = asked()
    *before, last = [part(request, n, b"", JSON) for n in numbers] + (
        [] if parts is None else [final(request, parts, b"", JSON)]
    )
    for each in before:
        assert isinstance(exchange.take(received(each)), Part)
    with pytest.raises(IncompleteReply, match=lost) as caught:
        exchange.take(received(last))
    assert caught.value.correlation_data == request.correlation_data
    assert exchange.take(received(final(request, len(before), b"", JSON))) is None, "the request no longer waits"


@pytest.mark.parametrize(
    "properties",
    [
        (("part", ""),),
        (("part", "one"),),
        (("part", "-1"),),
        (("part", "²"),),
        (("part", "1" * 19),),
        (("final", "true"),),
        (("final", "true"), ("parts", "none")),
        (("part", "x"), ("final", "true"), ("parts", "0")),
    ],
)
def test_unreadable_mark_is_an_error(properties: tuple[tuple[str, str], ...]) -> None:
    exchange, request = asked()
    with pytest.raises(MalformedReply, match="expected a whole number"):
        exchange.take(marked(request, *properties))
    assert len(exchange) == 0


@pytest.mark.parametrize("properties", [(), (("final", "true"), ("parts", "0"))])
def test_end_before_its_parts_is_an_error(properties: tuple[tuple[str, str], ...]) -> None:
    exchange, request = asked()
    exchange.take(received(part(request, 1, b"", JSON)))
    with pytest.raises(MalformedReply, match="ends after 0 parts, but 1 have arrived"):
        exchange.take(marked(request, *properties))


def test_messages_for_others_are_ignored() -> None:
    exchange, request = asked()
    assert exchange.take(Message(topic=TOPIC, payload=b"")) is None
    assert exchange.take(Message(topic=TOPIC, payload=b"", correlation_data=b"another")) is None
    assert exchange.take(Message(topic="storage/answer/you", payload=b"", correlation_data=request.correlation_data)) is None
    assert len(exchange) == 1


def test_forgotten_request_takes_no_reply() -> None:
    exchange, request = asked()
    exchange.forget(request.correlation_data or b"")
    exchange.forget(b"another")
    assert exchange.take(marked(request)) is None


def test_all_requests_are_forgotten_at_once() -> None:
    exchange, request = asked()
    exchange.request(QUESTION)
    exchange.forget_all()
    assert len(exchange) == 0
    assert exchange.take(marked(request)) is None


def answer(end_: QueryEnd | bytes, parts: int = 0) -> Final:
    payload = end_ if isinstance(end_, bytes) else encode(end_)
    return Final(b"7", parts, Message(topic=TOPIC, payload=payload))


END = QueryEnd(rows=3, chunks=1, elapsed_s=0.1, columns=["n"], truncated=False, error=None)
TRUNCATED = msgspec.structs.replace(END, truncated=True)


def test_query_is_published_to_the_recorder() -> None:
    publication = query(QueryRequest(sql="SELECT 1"))
    assert (publication.topic, publication.content_type) == ("storage/query", JSON)
    assert msgspec.json.decode(publication.payload)["sql"] == "SELECT 1"


def test_rows_of_a_part() -> None:
    assert rows(Part(b"7", 1, Message(topic=TOPIC, payload=b'[{"n":1},{"n":2}]'))) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("payload", [b"", b"[", b"{}", b"[1]", b"ARROW1"])
def test_unreadable_rows_are_an_error(payload: bytes) -> None:
    with pytest.raises(MalformedReply, match="part 4 of the recorder's answer cannot be read"):
        rows(Part(b"7", 4, Message(topic=TOPIC, payload=payload)))


def test_end_of_a_whole_answer() -> None:
    assert end(answer(END, 1)) == END
    assert end(answer(TRUNCATED, 1), whole=False) == TRUNCATED


def test_truncated_answer_is_an_error() -> None:
    with pytest.raises(AnswerTruncated, match="more than 3 rows"):
        end(answer(TRUNCATED, 1))


def test_error_of_the_recorder_is_raised() -> None:
    error = QueryError("limit", "too many rows")
    with pytest.raises(AnswerError, match="too many rows") as caught:
        end(answer(msgspec.structs.replace(END, error=error), 1))
    assert caught.value.error == error


@pytest.mark.parametrize("final_", [answer(b"", 1), answer(b"[]", 1), answer(b"{}", 1)])
def test_unreadable_end_is_an_error(final_: Final) -> None:
    with pytest.raises(MalformedReply, match="no readable end"):
        end(final_)


def test_end_with_another_count_of_parts_is_an_error() -> None:
    with pytest.raises(MalformedReply, match="counts 1 parts in its answer, and 0 have come"):
        end(answer(END, 0))
