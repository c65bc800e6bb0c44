"""Arbitrary bytes never raise, and the result does not depend on the pieces in which they arrive."""

import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.chargers import websocket as module
from adapters.chargers.websocket import Incoming, Refusal, WebSocket
from tests.adapters.chargers.fuzz import SOME, cuts, mutated, pieces, streams
from tests.adapters.chargers.wire import CONT, HEAD, PING, SOC, TEXT, frame

_DATE = re.compile(rb"\r\nDate: [^\r]*")


def run(parts: Iterator[bytes] | list[bytes], refusal: Refusal | None = None) -> tuple[list[Incoming], bytes, bool, int]:
    """The result of bytes: messages, all that is written, whether the connection ends, and the number of frames."""
    made, messages, written, ended = WebSocket(lambda _request: refusal), list[Incoming](), b"", False
    for part in parts:
        messages += made.receive(part)
        data, last = made.to_write()
        assert not (ended and data), "nothing is written after the end"
        written, ended = written + data, ended or last
        assert made.accepted >= made.open
        assert made.unfinished_bytes <= module.LARGEST_MESSAGE_BYTES + 100_000
    return messages, _DATE.sub(b"", written), ended, made.frames


@given(st.binary(max_size=400), cuts)
def test_any_bytes(data: bytes, at: list[int]) -> None:
    messages, *_ = run(pieces(data, at))
    assert messages == []


@given(mutated(st.just(HEAD)) | mutated(st.just(HEAD)).map(lambda each: each + frame(TEXT, SOC)), cuts, st.booleans())
@settings(max_examples=100)
def test_a_mutated_handshake_in_any_pieces(data: bytes, at: list[int], refused: bool) -> None:
    refusal = Refusal(404, "no") if refused else None
    assert run(pieces(data, at), refusal) == run([data], refusal)


@given(streams | mutated(streams) | st.binary(max_size=400), cuts)
@settings(max_examples=150)
def test_any_bytes_after_a_good_handshake_in_any_pieces(data: bytes, at: list[int]) -> None:
    assert run(pieces(HEAD + data, at)) == run([HEAD + data])


@settings(max_examples=60)
@given(st.lists(st.sampled_from(SOME), max_size=6), st.lists(st.integers(1, 10), min_size=1), cuts)
def test_messages_are_assembled_from_any_pieces(payloads: list[bytes], sizes: list[int], at: list[int]) -> None:
    data = HEAD
    for number, payload in enumerate(payloads):
        count = sizes[number % len(sizes)]
        step = len(payload) // count + 1
        parts = [payload[start : start + step] for start in range(0, max(1, len(payload)), step)]
        for index, part in enumerate(parts):
            data += frame(CONT if index else TEXT, part, fin=index == len(parts) - 1)
            data += frame(PING, b"still there?") if index % 2 else b""
    messages, _, ended, _ = run(pieces(data, at))
    assert [each.payload for each in messages] == payloads
    assert all(each.text for each in messages)
    assert not ended
