"""Reading a post of consumption data.

A value that is not a number is skipped and named. A field or a time that cannot be read makes the whole post invalid, since its
meaning is not known; nothing of it is stored as data. A post without mistakes, as nearly all are, is read as a whole. One with
a mistake is read row by row, to name it.
"""

import json
import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import numpy as np

from broker.contract.energy.topics import RAW, Consumption, Falls, Skipped
from broker.contract.identifiers import parse_identifier
from broker.errors import InvalidTopic, Rejected
from broker.message import convert, decode, decode_json, without_byte_order_mark
from controllers.energy.interval import DAY_US, MINUTE_US, WAITS_US, Times
from controllers.energy.quarters import Readings, Values

MOST_VALUES = 1_000_000
"""Values in one post: several years at the usual intervals."""
LONGEST_US = 5 * 366 * DAY_US
"""From the first to the last reading of one post, so that its quarters fit into one message."""
LARGEST = 1e12
"""kW or kWh; a larger value is an error of the meter, and sums with it would not be exact."""

LONGEST_REGISTER = 100
INFERRED = "inferred"
"""In place of `interval_minutes`: a single reading of a new series waits for the next one, which shows the interval."""

_HYPHENS = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d)-(\d\d)-(\d\d.*)")
_LONGEST_INTEGER = 300
_FEW = 8
"""Rows up to which arrays are slower than a loop."""
_PLAIN_LENGTH = 20
_MARKS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":", 19: "Z"}
_DIGITS = [place for place in range(_PLAIN_LENGTH) if place not in _MARKS]
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Post:
    """A post: the ship, its readings in the order given, and the skipped values."""

    ship: int | str
    readings: Readings
    """NaN for a skipped value."""
    skipped: tuple[Skipped, ...] = ()
    register: str | None = None
    """Name of the register whose values these are, which counts kWh up."""
    falls: Falls = "ignore"


class _Row(msgspec.Struct, frozen=True, gc=False):
    datetime: str
    value: float


class _Faultless(msgspec.Struct, frozen=True):
    spaceship_id: int | str
    units: Literal["kW", "kWh"]
    data: list[_Row]
    interval_minutes: float | None = None
    register: str | None = None
    falls: Falls | None = None


def ship_id(given: Any) -> int | str:
    """Return a ship's identifier, a number or a text (`broker.contract.identifiers`).

    Raises:
        Rejected: it is neither, or cannot be a topic level.
    """
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise Rejected("spaceship_id: must be a whole number or a text")
    text = str(given)
    try:
        RAW.template.topic(ship=text)
    except InvalidTopic as error:
        raise Rejected(f"spaceship_id: {error}") from None
    if text != text.strip() or len(text) > 100 or text == "answer":
        raise Rejected("spaceship_id: must have no blanks around it, 100 characters at most, and not be `answer`")
    return parse_identifier(text)


def read_post(payload: bytes) -> Post:
    """Read a post.

    Raises:
        Rejected: it is not a JSON object, or a field is missing or wrong: the text begins with the field's name, with the index
            of the row in brackets.
    """
    payload = without_byte_order_mark(payload)
    return _faultless(payload) or _row_by_row(_decoded(payload))


def _faultless(payload: bytes) -> Post | None:
    """Read a post without mistakes, quickly; None if it has one."""
    try:
        post = msgspec.json.decode(payload, type=_Faultless)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    texts = [row.datetime for row in post.data]
    times = _few_times(texts) if len(texts) <= _FEW else _plain_times(texts)
    values = np.array([row.value for row in post.data], dtype=np.float64)
    if times is None or not (np.abs(values) <= LARGEST).all() or len(times) > MOST_VALUES:
        return None
    if payload.count(b'"') != _quotes(post):  # there are other members, or repeated ones
        decode_json(payload)
    readings = _readings(times, values, post.units, _interval(post.interval_minutes))
    return Post(ship_id(post.spaceship_id), readings, (), *_register(post))


def _quotes(post: _Faultless) -> int:
    """Count the quotes of a post that has each of its members once, and no others."""
    optional = (2 if post.interval_minutes else 0) + (4 if post.register is not None else 0) + (4 if post.falls else 0)
    return 8 + 6 * len(post.data) + (2 if isinstance(post.spaceship_id, str) else 0) + optional


def _decoded(payload: bytes) -> Consumption:
    """Decode a post that may have numbers out of range, such as 1e999: they become infinite, and are skipped."""
    try:
        consumption = decode(payload, Consumption)
    except Rejected as error:
        return _exactly(payload, error)
    if isinstance(consumption.spaceship_id, float):  # a number beyond 64 bits was rounded
        return _exactly(payload, Rejected("spaceship_id: must be a whole number or a text"))
    return consumption


def _exactly(payload: bytes, error: Rejected) -> Consumption:
    """Decode a post with Python's own reader, which rounds no whole number; `error` is raised where it cannot."""
    try:
        value = json.loads(payload.decode(), parse_constant=_refuse_constant, parse_int=_integer, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise error from None
    return convert(value, Consumption)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object.

    Raises:
        Rejected: a name occurs twice.
    """
    found = dict(members)
    if len(found) < len(members):
        raise Rejected("a name occurs twice in an object: which value counts?")
    return found


def _integer(digits: str) -> int | float:
    """Read a whole number; one with hundreds of digits is infinite."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else math.inf


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python would read and JSON does not have.

    Raises:
        ValueError: always.
    """
    raise ValueError(name)


def _row_by_row(consumption: Consumption) -> Post:
    ship = ship_id(consumption.spaceship_id)
    if consumption.units not in ("kW", "kWh"):
        raise Rejected(f'units: must be "kW" or "kWh", not {_shown(consumption.units)}')
    given_us = _interval(consumption.interval_minutes)
    rows = _rows(consumption.data)
    times = np.array([_time(row.get("datetime"), index) for index, row in enumerate(rows)], dtype=np.int64)
    numbers, skipped = _numbers([row["value"] for row in rows])
    return Post(ship, _readings(times, numbers, consumption.units, given_us), skipped, *_register(consumption))


def _register(post: Consumption | _Faultless) -> tuple[str | None, Falls]:
    if post.register is None:
        if post.falls is not None:
            raise Rejected("falls: is for the values of a register: name it with register")
        return None, "ignore"
    if not isinstance(post.register, str) or not 0 < len(post.register) <= LONGEST_REGISTER:
        raise Rejected(f"register: must be a text of at most {LONGEST_REGISTER} characters, not {_shown(post.register)}")
    if post.units != "kWh":
        raise Rejected('units: must be "kWh" for the values of a register')
    if post.interval_minutes is not None:
        raise Rejected("interval_minutes: must be left out for a register, whose values are of an instant")
    falls: Falls = "ignore" if post.falls is None else post.falls
    if falls not in ("ignore", "reset", "swap"):
        raise Rejected(f'falls: must be "ignore", "reset" or "swap", not {_shown(falls)}')
    return post.register, falls


def _readings(times: Times, values: Values, units: str, given_us: int) -> Readings:
    if len(times) > 1 and times.max() - times.min() > LONGEST_US:
        raise Rejected("data: spans more than five years: post it in pieces")
    return Readings(times, values, np.full(len(times), units == "kW"), np.full(len(times), given_us, dtype=np.int64))


def _interval(minutes: Any) -> int:
    if minutes is None:
        return 0
    if minutes == INFERRED:
        return WAITS_US
    is_number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
    if not is_number or not 1 <= minutes <= DAY_US // MINUTE_US:
        raise Rejected(f"interval_minutes: must be a number from 1 to 1440 or `{INFERRED}`, not {_shown(minutes)}")
    return round(float(minutes) * MINUTE_US)


def _rows(data: Any) -> list[dict[str, Any]]:
    if not isinstance(data, list):
        raise Rejected('data: must be a list of {"datetime", "value"}')
    if len(data) > MOST_VALUES:
        raise Rejected(f"data: has {len(data)} rows, more than {MOST_VALUES}: post it in pieces")
    for index, row in enumerate(data):
        if not isinstance(row, dict):
            raise Rejected(f'data[{index}]: must be an object with "datetime" and "value"')
        if "value" not in row:
            raise Rejected(f"data[{index}].value: is missing")
    return data


def _few_times(texts: list[str]) -> Times | None:
    """Read a few texts one by one; None if one is not a time."""
    try:
        return np.array([microseconds(each) for each in texts], dtype=np.int64) if texts else None
    except ValueError:
        return None


def _plain_times(texts: list[str]) -> Times | None:
    """Read texts of the form `2018-08-24T00:00:00Z`; None if one has another form or is not a time."""
    joined = "".join(texts).encode()
    if not texts or {*map(len, texts)} != {_PLAIN_LENGTH} or len(joined) != _PLAIN_LENGTH * len(texts):
        return None
    letters = np.frombuffer(joined, dtype=np.uint8).reshape(-1, _PLAIN_LENGTH).T
    if any((letters[place] != ord(mark)).any() for place, mark in _MARKS.items()):
        return None
    digits = letters[_DIGITS] - np.uint8(ord("0"))  # other characters become larger than 9
    if (digits > 9).any():
        return None
    numbers = digits.astype(np.int64)
    year = numbers[0] * 1000 + numbers[1] * 100 + numbers[2] * 10 + numbers[3]
    month, day, hour, minute, second = (numbers[n] * 10 + numbers[n + 1] for n in range(4, 14, 2))
    months = (year - 1970) * 12 + month - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]")
    next_month = (months + 1).astype("datetime64[M]").astype("datetime64[D]")
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= (next_month - first_day).astype(np.int64))
    valid &= (hour <= 23) & (minute <= 59) & (second <= 59) & (year >= _FIRST.year) & (year < _LAST.year)
    if not valid.all():
        return None
    days = first_day.astype(np.int64) + day - 1
    times: Times = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
    return times


def _time(text: Any, index: int) -> int:
    where = f"data[{index}].datetime"
    if not isinstance(text, str):
        raise Rejected(f"{where}: must be a text such as 2018-08-24T00:00:00Z, not {_shown(text)}")
    try:
        return microseconds(text)
    except ValueError:
        raise Rejected(f"{where}: must be ISO 8601 such as 2018-08-24T00:00:00Z, not {_shown(text)}") from None


def microseconds(text: str) -> int:
    """Return a time, µs since 1970: ISO 8601 with `Z`, an offset or none (UTC), also `2018-08-24T00-00-00Z`.

    Raises:
        ValueError: it is not a time, or not between 1970 and 2100.
    """
    written = text.strip()
    if hyphens := _HYPHENS.fullmatch(written):
        written = f"{hyphens[1]}:{hyphens[2]}:{hyphens[3]}"
    if len(written) < len("2018-08-24T00"):
        raise ValueError("there is no time of day")
    at = datetime.fromisoformat(written)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if not _FIRST <= at < _LAST:
        raise ValueError("not between 1970 and 2100")
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _numbers(values: Sequence[Any]) -> tuple[Values, tuple[Skipped, ...]]:
    """Return the values, NaN for skipped ones, and the skipped ones with the reason."""
    numbers, skipped = np.full(len(values), np.nan), []
    for index, value in enumerate(values):
        number = _number(value)
        if isinstance(number, str):
            skipped.append(Skipped(index, number))
        else:
            numbers[index] = number
    return numbers, tuple(skipped)


def _number(value: Any) -> float | str:
    """Return a number, or the reason why it is none."""
    if value is None:
        return "null"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return f"not a number: {_shown(value)}"
    if isinstance(value, str) and ("_" in value or not value.isascii()):  # `float` would read 1_000, and digits of every script
        return f"not a number: {_shown(value)}"
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return "empty" if value == "" else f"not a number: {_shown(value)}"
    if not math.isfinite(number):
        return f"not a finite number: {_shown(value)}"
    return number if abs(number) <= LARGEST else f"larger than {LARGEST:g}: {_shown(value)}"


def _shown(value: Any) -> str:
    text = reprlib.repr(value)  # `repr` would fail on deeply nested values
    return text if len(text) <= 60 else text[:57] + "…"
