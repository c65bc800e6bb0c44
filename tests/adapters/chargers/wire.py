"""The bytes of independent clients after RFC 6455, without code of the adapter or of its library."""

import struct

HEAD = (
    b"GET /chargers/c1234 HTTP/1.1\r\n"
    b"Host: 127.0.0.1:3100\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)
"""With the key of RFC 6455, section 1.3."""
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to that key, ibid."""
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SOC = b'{"event":"StateOfCharge","data":{"soc":70}}'


def head(path: str) -> bytes:
    """A handshake for another path."""
    return HEAD.replace(b"/chargers/c1234", path.encode())


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = b"\x37\xfa\x21\x3d", rsv: int = 0
) -> bytes:
    """A frame; RFC 6455, section 5.2."""
    first, masked, size = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if mask else 0, len(payload)
    if size < 126:
        start = struct.pack("!BB", first, masked | size)
    elif size < 65_536:
        start = struct.pack("!BBH", first, masked | 126, size)
    else:
        start = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return start + payload
    stream = (mask * (size // 4 + 1))[:size]
    return start + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def soc(value: object) -> bytes:
    """The payload of a charger with this state of charge."""
    return b'{"event":"StateOfCharge","data":{"soc":%s}}' % str(value).encode()


def close(code: int, reason: bytes = b"", mask: bytes | None = b"abcd") -> bytes:
    """A close frame; RFC 6455, section 5.5.1."""
    return frame(CLOSE, struct.pack("!H", code) + reason, mask=mask)
