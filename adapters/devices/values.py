"""The value of a field in a foreign payload: a path, then default, strip, number, map, scale, offset and range. Pure.

A value is there, absent (no reading) or malformed. Nothing is guessed: text is no number unless `number` is set, and `true` is
never one.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import Rejected
from broker.message import decode_json

Scalar = bool | int | float | str
Key = str | int
Path = tuple[Key, ...]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 400
_SHOWN = 60


class Absent:
    """Stands for a value that is not there, or null."""


ABSENT: Final = Absent()


class Malformed(ValueError):
    """A value that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a value is read from a document. `low` and `high` bound it, after scale and offset."""

    path: Path = ()
    pick: tuple[tuple[str, Scalar], ...] = ()
    default: Scalar | None = None
    strip: str | None = None
    number: bool = False
    map: dict[str, Scalar] | None = None
    scale: float | None = None
    offset: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def calculates(self) -> bool:
        """Whether the value must be a number for this rule."""
        return self.scale is not None or self.offset is not None or self.low is not None

    def read(self, document: Any) -> Any:
        """Return the value in a decoded payload, `ABSENT` where there is none.

        Raises:
            Malformed: it has the wrong type, is not in the map, not finite or out of range.
        """
        found = find(document, self.path, self.pick)
        if found is None or found is ABSENT:
            if self.default is None:
                return ABSENT
            found = self.default
        return self.convert(found)

    def convert(self, value: Any) -> Any:
        """Return a found value after strip, number, map, scale, offset and range.

        Raises:
            Malformed: it has the wrong type, is not in the map, not finite or out of range.
        """
        if self.strip is not None and type(value) is str:
            value = _stripped(value, self.strip)
        if self.number and type(value) is str:
            value = read_number(value)
        if self.map is not None:
            value = _mapped(value, self.map)
        if self.calculates:
            value = self._calculated(as_number(value))
        return value

    def _calculated(self, value: float) -> float:
        if self.scale is not None:
            value *= self.scale
        if self.offset is not None:
            value += self.offset
        if not math.isfinite(value):
            raise Malformed(f"{value} is not finite")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise Malformed(f"{value:g} is outside {self.low:g}..{self.high:g}")
        return value


def read_document(payload: bytes, has_path: bool) -> Any:
    """Return a payload decoded: JSON where it parses, else its text.

    Raises:
        Malformed: it is not JSON although a path is to be followed, or not UTF-8.
    """
    try:
        return decode_json(payload)
    except Rejected as error:
        if has_path:
            raise Malformed(str(error)) from None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Malformed("neither JSON nor UTF-8") from None


def find(document: Any, path: Path, pick: tuple[tuple[str, Scalar], ...] = ()) -> Any:
    """Follow a path; return `ABSENT` where it ends early.

    A whole number is a place in a list, and a name in an object. Where a list of objects is met, `pick` selects the first one
    whose fields have these values.
    """
    value = document
    for key in path:
        if pick and type(value) is list:
            value = _picked(value, pick)
        if type(value) is dict:
            value = value.get(key if type(key) is str else str(key), ABSENT)
        elif type(value) is list:
            place = _place(key)
            value = value[place] if place is not None and place < len(value) else ABSENT
        else:
            return ABSENT
        if value is ABSENT:
            return ABSENT
    if pick and type(value) is list:
        return _picked(value, pick)
    return value


def as_number(value: Any) -> float:
    """Return a finite number as it is.

    Raises:
        Malformed: it is text, `true` or `false`, an object, a list, or not finite.
    """
    if type(value) is float:
        if math.isfinite(value):
            return value
    elif type(value) is int:
        try:
            float(value)
        except OverflowError:
            raise Malformed("a number that is too large") from None
        return value
    raise Malformed(f"{shown(value)} is no number" + (", `number = true` reads text as one" if type(value) is str else ""))


def read_number(text: str) -> float:
    """Return the number that a text is, blanks around it aside; a whole number where it is written as one.

    Raises:
        Malformed: it is none, or too large.
    """
    stripped = text.strip()
    if len(stripped) > _LONGEST_NUMBER or not _NUMBER.fullmatch(stripped):
        raise Malformed(f"{shown(text)} is no number")
    value: float = int(stripped) if stripped.lstrip("+-").isdigit() else float(stripped)
    return as_number(value)


def text_of(value: Any) -> str | None:
    """Return the text by which a map finds a value; None for objects and lists."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if type(value) in (int, float) else None


def shown(value: Any) -> str:
    """Return a value as messages show it, cut."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _picked(items: list[Any], pick: tuple[tuple[str, Scalar], ...]) -> Any:
    if not any(type(each) is dict for each in items):
        return items
    wanted = [(field, text_of(value)) for field, value in pick]
    for each in items:
        if type(each) is dict and all(text_of(each.get(field)) == text for field, text in wanted):
            return each
    return ABSENT


def _place(key: Key) -> int | None:
    if type(key) is int:
        return key if key >= 0 else None
    return int(key) if type(key) is str and key.isascii() and key.isdigit() and len(key) < 10 else None


def _stripped(value: str, text: str) -> str:
    value = value.strip()
    return value.removeprefix(text).removesuffix(text).strip() if text else value


def _mapped(value: Any, table: dict[str, Scalar]) -> Scalar:
    text = text_of(value)
    if text is not None and text in table:
        return table[text]
    if type(value) is float and str(value) in table:  # written with its decimals in the declaration
        return table[str(value)]
    raise Malformed(f"{shown(value)} is not in the map")
