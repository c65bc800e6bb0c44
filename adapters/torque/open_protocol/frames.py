"""Open Protocol's messages as frames: a header of 20 characters, data, and a NUL (specification R 2.16.0, 2.2.2)."""

from collections.abc import Iterable
from dataclasses import dataclass

HEADER_BYTES = 20
_DIGITS = frozenset("0123456789")


class MalformedFrame(Exception):
    """Bytes that are no frame, or data that do not have the form of their revision; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its number (MID), its revision, and its data, one character a byte."""

    mid: int
    revision: int = 1
    data: str = ""

    @property
    def text(self) -> str:
        """Header and data. Station, spindle, sequence number and parts are left blank: the defaults."""
        return f"{HEADER_BYTES + len(self.data):04}{self.mid:04}{self.revision:03}{'':9}{self.data}"

    def encode(self) -> bytes:
        """Return the bytes to send."""
        return self.text.encode("latin-1") + b"\0"


class FrameReader:
    """Splits a stream of bytes into frames: pass what was received to `feed`, then call `next_frame` until it returns None."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next frame, None until it is complete. A tool may leave out the NUL at its end.

        Raises:
            MalformedFrame: the stream has something else where a frame begins, so what follows cannot be read either.
        """
        start = len(self._buffer) - len(self._buffer.lstrip(b"\0"))
        del self._buffer[:start]
        if len(self._buffer) < HEADER_BYTES:
            self._refuse_early()
            return None
        length = number(self._text(0, 4), "length")
        if length < HEADER_BYTES:
            raise MalformedFrame(f"a frame cannot be {length} bytes long: the header alone has {HEADER_BYTES}")
        if len(self._buffer) < length:
            return None
        revision = self._text(8, 11).strip()
        frame = Frame(
            mid=number(self._text(4, 8), "message number (MID)"),
            revision=number(revision, "revision") or 1 if revision else 1,
            data=self._text(HEADER_BYTES, length),
        )
        del self._buffer[:length]
        return frame

    def _refuse_early(self) -> None:
        """Refuse what cannot become a frame, since its rest may never come."""
        if not _DIGITS.issuperset(self._text(0, min(4, len(self._buffer)))):
            raise MalformedFrame(f"a frame begins with its length, not with {self._text(0, 20)!r}")

    def _text(self, start: int, end: int) -> str:
        return self._buffer[start:end].decode("latin-1")


def number(text: str, name: str) -> int:
    """Read a whole number in ASCII digits.

    Raises:
        MalformedFrame: it is something else; the text has `name`.
    """
    if not text or not _DIGITS.issuperset(text):
        raise MalformedFrame(f"{name} {text!r} is not a whole number")
    return int(text)


def numbered_fields(data: str, widths: Iterable[int]) -> tuple[str, ...]:
    """Return the values of fields that follow each other, each after its number in two digits, from 01 on.

    Args:
        data: of a frame; more than the fields is ignored.
        widths: characters of each value, without its number.

    Raises:
        MalformedFrame: a number is not where it has to be.
    """
    values, start = [], 0
    for count, width in enumerate(widths, 1):
        end = start + 2 + width
        if data[start : start + 2] != f"{count:02}" or len(data) < end:
            raise MalformedFrame(f"field {count:02} is not at byte {HEADER_BYTES + 1 + start} or is too short")
        values.append(data[start + 2 : end])
        start = end
    return tuple(values)
