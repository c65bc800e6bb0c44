"""Bytes in, messages and bytes out. Sections are those of RFC 6455."""

import struct

import pytest
from websockets.http11 import Request

from adapters.chargers.websocket import LARGEST_HEAD_BYTES, LARGEST_MESSAGE_BYTES, Incoming, Refusal, WebSocket
from tests.adapters.chargers.wire import ACCEPT, BINARY, CLOSE, CONT, HEAD, PING, PONG, SOC, TEXT, close, frame

MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")  # 5.7: a single-frame masked text message
PONG_HELLO = bytes.fromhex("8a0548656c6c6f")  # 5.7, without a mask: a server's


def websocket(refusal: Refusal | None = None) -> WebSocket:
    return WebSocket(lambda _request: refusal)


def opened() -> WebSocket:
    made = websocket()
    assert made.receive(HEAD) == []
    made.to_write()
    assert made.open
    return made


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def close_code(written: bytes) -> int:
    """The code of the close frame, which must be all that was written."""
    assert written[0] == 0x80 | CLOSE
    assert written[1] == len(written) - 2
    return int(struct.unpack("!H", written[2:4])[0])


def text(payload: bytes) -> Incoming:
    return Incoming(payload, text=True)


def test_the_handshake_of_section_1_3() -> None:
    made = websocket()
    assert made.shaking_hands
    assert made.receive(HEAD) == []
    answer, last = made.to_write()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"extensions" not in answer.lower()
    assert (last, made.open, made.accepted, made.shaking_hands) == (False, True, True, False)
    assert made.to_write() == (b"", False)


def test_the_first_subprotocol_offered_is_accepted() -> None:
    offer = b"\r\nSec-WebSocket-Protocol: ocpp1.6, ocpp1.5\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    made = websocket()
    assert made.receive(HEAD.removesuffix(b"\r\n\r\n") + offer) == []
    assert b"\r\nSec-WebSocket-Protocol: ocpp1.6\r\n" in made.to_write()[0]
    assert made.open


def test_the_path_is_passed_on_unchanged() -> None:
    paths: list[str] = []

    def admit(request: Request) -> None:
        paths.append(request.path)

    WebSocket(admit).receive(HEAD.replace(b"/chargers/c1234", b"/chargers/c%20/?x=1"))
    assert paths == ["/chargers/c%20/?x=1"]


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
def test_the_handshake_in_two_pieces(cut: int) -> None:
    made = websocket()
    assert made.receive(HEAD[:cut]) == []
    assert made.to_write() == (b"", False)
    assert made.shaking_hands
    assert made.receive(HEAD[cut:] + MASKED_HELLO) == [text(b"Hello")]
    assert made.open


def test_byte_by_byte() -> None:
    made = websocket()
    messages = [each for byte in HEAD + MASKED_HELLO + frame(TEXT, SOC) for each in made.receive(bytes([byte]))]
    assert messages == [text(b"Hello"), text(SOC)]


def test_a_message_in_the_same_instant_is_read_after_the_answer() -> None:
    made = websocket()
    assert made.receive(HEAD + MASKED_HELLO) == [text(b"Hello")]
    assert status(made.to_write()[0]) == 101


def test_a_ping_in_the_same_instant_is_answered_after_the_answer() -> None:
    made = websocket()
    made.receive(HEAD + frame(PING, b"Hello"))
    written, last = made.to_write()
    assert written.startswith(b"HTTP/1.1 101 ")
    assert written.endswith(b"\r\n\r\n" + PONG_HELLO)
    assert not last


def test_close_in_the_same_instant_comes_after_the_answer() -> None:
    made = websocket()
    assert made.receive(HEAD + frame(TEXT, SOC) + close(1000)) == [text(SOC)]
    written, last = made.to_write()
    assert written.startswith(b"HTTP/1.1 101 ")
    assert written.endswith(b"\r\n\r\n\x88\x02\x03\xe8")
    assert (last, made.open, made.accepted) == (True, False, True)


def test_the_examples_of_section_5_7() -> None:
    fragments = frame(TEXT, b"Hel", fin=False) + frame(CONT, b"lo")
    kib, large = bytes(range(256)), bytes(range(256)) * 256
    assert opened().receive(MASKED_HELLO) == [text(b"Hello")]
    assert opened().receive(fragments) == [text(b"Hello")]
    assert frame(BINARY, kib, mask=None)[:4] == bytes.fromhex("827e0100")
    assert frame(BINARY, large, mask=None)[:10] == bytes.fromhex("827f0000000000010000")
    assert opened().receive(frame(BINARY, kib) + frame(BINARY, large)) == [Incoming(kib, False), Incoming(large, False)]
    made = opened()
    assert made.receive(bytes.fromhex("898537fa213d7f9f4d5158")) == []
    assert made.to_write() == (PONG_HELLO, False)


def test_text_frames_are_sent() -> None:
    made = opened()
    made.send(b"Hello")
    assert made.to_write() == (bytes.fromhex("810548656c6c6f"), False)  # 5.7: a single-frame unmasked text message
    made.close(1001, "bye")
    made.close(1008, "again")
    made.send(b"too late")
    assert made.to_write() == (b"\x88\x05\x03\xe9bye", False)
    assert not made.open
    made.receive(close(1001))
    assert made.to_write() == (b"", True)


def test_nothing_is_sent_before_the_handshake_is_complete() -> None:
    made = websocket()
    made.receive(HEAD[:-1])
    made.send(b"{}")
    made.close(1001, "bye")
    assert made.to_write() == (b"", False)


def test_fragments_with_control_frames_between_and_empty_ones() -> None:
    made = opened()
    parts = [frame(TEXT, b"", fin=False), frame(PING, b"1"), frame(CONT, b"a", fin=False), frame(PONG), frame(CONT, fin=False)]
    parts += [frame(CONT, b"b", fin=False), frame(PING, b"2"), frame(CONT, b"")]
    assert [made.receive(each) for each in parts] == [*[[]] * 7, [text(b"ab")]]
    assert made.to_write() == (b"\x8a\x011\x8a\x012", False)
    assert made.frames == 8
    assert made.unfinished_bytes == 0
    assert made.receive(frame(BINARY, b"", fin=False) + frame(CONT)) == [Incoming(b"", False)]


def test_messages_before_a_violation_are_returned() -> None:
    made = opened()
    assert made.receive(frame(TEXT, b"1") + frame(CONT, b"2") + frame(TEXT, b"3")) == [text(b"1")]
    written, last = made.to_write()
    assert (close_code(written), last) == (1002, True)
    assert made.receive(frame(TEXT, b"4")) == []
    assert made.to_write() == (b"", False)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(frame(TEXT, b"Hello", mask=None), id="unmasked"),
        pytest.param(frame(TEXT, b"Hello", rsv=4), id="rsv1"),
        pytest.param(frame(TEXT, b"Hello", rsv=2), id="rsv2"),
        pytest.param(frame(TEXT, b"Hello", rsv=1), id="rsv3"),
        pytest.param(frame(CONT, b"Hello"), id="continuation of nothing"),
        pytest.param(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), id="text within a message"),
        pytest.param(frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), id="binary within a message"),
        pytest.param(frame(TEXT, b"a", fin=False) + close(1000), id="close within a message"),
        pytest.param(frame(PING, b"x" * 126), id="long ping"),
        pytest.param(frame(PING, b"x", fin=False), id="ping in pieces"),
        pytest.param(frame(CLOSE, b"x"), id="close with half a code"),
        pytest.param(close(999), id="close with a code below 1000"),
        pytest.param(close(1005), id="close with a code that is never sent"),
        *(pytest.param(frame(opcode, b"x"), id=f"opcode {opcode}") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ],
)
def test_a_protocol_violation_is_closed_with_1002(wrong: bytes) -> None:
    made = opened()
    assert made.receive(wrong) == []
    written, last = made.to_write()
    assert (close_code(written), last, made.open) == (1002, True, False)


def test_a_reason_that_is_not_utf_8_is_closed_with_1007() -> None:
    made = opened()
    made.receive(close(1000, b"\xff"))
    assert close_code(made.to_write()[0]) == 1007


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x00"])
def test_text_that_is_not_utf_8_is_passed_on(payload: bytes) -> None:
    made = opened()
    assert made.receive(frame(TEXT, payload)) == [text(payload)]
    assert made.open
    assert made.to_write() == (b"", False)


def test_an_empty_close_is_answered_with_an_empty_one() -> None:
    made = opened()
    made.receive(frame(CLOSE))
    assert made.to_write() == (b"\x88\x00", True)


def test_the_largest_message_and_one_byte_more() -> None:
    made, payload = opened(), b"x" * LARGEST_MESSAGE_BYTES
    assert made.receive(frame(TEXT, payload, mask=b"\0\0\0\0")) == [text(payload)]
    assert made.too_big is None
    made.receive(frame(TEXT, b"", mask=b"\0\0\0\0")[:1] + struct.pack("!BQ", 0xFF, LARGEST_MESSAGE_BYTES + 1))
    written, last = made.to_write()
    assert (close_code(written), last) == (1009, True)
    assert made.too_big is not None
    assert str(LARGEST_MESSAGE_BYTES + 1) in made.too_big


def test_too_large_a_message_in_pieces() -> None:
    made = opened()
    made.receive(frame(TEXT, b"x" * (LARGEST_MESSAGE_BYTES - 1), fin=False, mask=b"\0\0\0\0"))
    assert made.unfinished_bytes == LARGEST_MESSAGE_BYTES - 1
    made.receive(frame(CONT, b"x", fin=False))
    assert made.open
    made.receive(frame(CONT, b"x"))
    assert close_code(made.to_write()[0]) == 1009
    assert made.too_big is not None


def test_unfinished_bytes() -> None:
    made = opened()
    made.receive(frame(TEXT, b"x" * 1000, fin=False))
    made.receive(frame(CONT, b"y" * 1000)[:500])
    assert 1400 < made.unfinished_bytes < 1510
    assert made.receive(frame(CONT, b"y" * 1000)[500:]) == [text(b"x" * 1000 + b"y" * 1000)]
    assert made.unfinished_bytes == 0


def padded(size: int) -> bytes:
    """A handshake of that many bytes, in headers of 4,000."""
    lines, missing = HEAD[:-2], size - len(HEAD)
    while missing > 0:
        length = missing if missing < 4_040 else 4_000
        lines += b"X-Pad: " + b"x" * (length - 9) + b"\r\n"
        missing -= length
    return lines + b"\r\n"


@pytest.mark.parametrize("piece", [1, 1000, LARGEST_HEAD_BYTES, 100_000])
@pytest.mark.parametrize(("size", "expected"), [(LARGEST_HEAD_BYTES, 101), (LARGEST_HEAD_BYTES + 1, 431), (50_000, 431)])
def test_the_largest_head_and_one_byte_more(size: int, expected: int, piece: int) -> None:
    made, data = websocket(), padded(size)
    assert len(data) == size
    for start in range(0, size, piece):
        assert made.receive(data[start : start + piece]) == []
    written, last = made.to_write()
    assert (status(written), last, made.accepted) == (expected, expected != 101, expected == 101)


def test_a_head_without_end_is_refused_once_it_is_too_long() -> None:
    made = websocket()
    made.receive(b"x" * LARGEST_HEAD_BYTES)
    assert made.to_write() == (b"", False)
    made.receive(b"x")
    written, last = made.to_write()
    assert (status(written), last) == (431, True)
    assert made.receive(b"x" * 100_000) == []
    assert made.to_write() == (b"", True)


UPGRADE, VERSION = b"Upgrade: websocket\r\n", b"Sec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize(
    ("wrong", "statuses"),
    [
        pytest.param(b"\r\n\r\n", [400], id="nothing"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400], id="TLS"),
        pytest.param(b"no request\r\n\r\n", [400], id="two words"),
        pytest.param(b"GET /chargers/c\xc3\xb6 HTTP/1.1\r\n\r\n", [400], id="path that is not ASCII"),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/2.0"), [400, 505], id="HTTP/2"),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), [400, 505], id="HTTP/1.0"),
        pytest.param(HEAD.replace(b"GET", b"POST"), [400, 405], id="POST"),
        pytest.param(HEAD.replace(b"GET", b"POST")[:-2] + b"Content-Length: 5\r\n\r\n", [400], id="POST with a body"),
        pytest.param(HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", [400], id="body in chunks"),
        pytest.param(HEAD[:-2] + b"no header\r\n\r\n", [400], id="line that is no header"),
        pytest.param(HEAD[:-2] + b"X: \x00\r\n\r\n", [400], id="null character"),
        pytest.param(HEAD[:-2] + b"X: 1\r\n" * 200 + b"\r\n", [400, 431], id="200 headers"),
        pytest.param(HEAD.replace(UPGRADE, b""), [426], id="no Upgrade"),
        pytest.param(HEAD.replace(UPGRADE, b"Upgrade: h2c\r\n"), [426], id="another Upgrade"),
        pytest.param(HEAD.replace(b"Connection: Upgrade\r\n", b""), [426], id="no Connection"),
        pytest.param(HEAD.replace(VERSION, b""), [400], id="no version"),
        pytest.param(HEAD.replace(VERSION, b"Sec-WebSocket-Version: 8\r\n"), [400], id="version 8"),
        pytest.param(HEAD.replace(KEY, b""), [400], id="no key"),
        pytest.param(HEAD.replace(KEY, KEY + KEY), [400], id="two keys"),
        pytest.param(HEAD.replace(KEY, b"Sec-WebSocket-Key: \xff\xff\r\n"), [400], id="key that is not ASCII"),
        pytest.param(HEAD.replace(KEY, b"Sec-WebSocket-Key: c2hvcnQ=\r\n"), [400], id="short key"),
    ],
)
def test_invalid_handshakes_are_refused(wrong: bytes, statuses: list[int]) -> None:
    made = websocket()
    assert made.receive(wrong + MASKED_HELLO) == []
    written, last = made.to_write()
    assert status(written) in statuses
    assert b"\r\nConnection: close\r\n" in written
    assert (last, made.open, made.accepted, made.shaking_hands) == (True, False, False, False)
    assert made.receive(MASKED_HELLO) == []


@pytest.mark.parametrize("refused", [Refusal(404, "unknown id 'ö€'"), Refusal(503, "not yet")])
def test_a_refusal_states_the_reason(refused: Refusal) -> None:
    made = websocket(refused)
    assert made.receive(HEAD + MASKED_HELLO) == []
    written, last = made.to_write()
    head, _, body = written.partition(b"\r\n\r\n")
    assert status(head) == refused.status
    assert b"Content-Length: %d" % len(body) in head
    assert body.decode() == f"{refused.text}\n"
    assert (last, made.open, made.accepted) == (True, False, False)
    made.send(b"{}")
    made.close(1001, "bye")
    assert made.to_write() == (b"", True)
