"""The parameters of a request: the ship and the period of a query, and the ship of a post. Pure.

The rules for the name of a ship are the normalizer's (controllers/energy/post.py); they are here too, because the topic needs
them.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.datastructures import QueryParams

from adapters.http.errors import BadRequest
from broker.contract.energy.topics import RAW
from broker.contract.identifiers import parse_identifier
from broker.errors import InvalidTopic, Rejected
from broker.message import without_byte_order_mark

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""No reading is before or after these."""
LONGEST_SHIP = 100

_HYPHENS = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d)-(\d\d)-(\d\d.*)")
_BLANK_OFFSET = re.compile(r"(\d\S*[T ]\d\S*) (\d\d(?::?\d\d)?)")
_NO_CHARACTER = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Brokers disconnect a client that uses one of these in a topic."""
_NO_OBJECT = "the body must be a JSON object with spaceship_id, units and data"
_NO_SHIP = "spaceship_id: must be a whole number or a text"


class _Named(msgspec.Struct, frozen=True):
    """The only field of a post that is read here."""

    spaceship_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_post = msgspec.json.Decoder(_Named)


@dataclass(frozen=True, slots=True)
class Period:
    """A ship, and the period from `start` until before `end`: RFC 3339 in UTC."""

    ship: str
    start: str
    end: str


def read_period(query: QueryParams) -> Period:
    """Return the period in `?spaceship_id=…&start=…&end=…`; all three are required.

    Raises:
        BadRequest: one is missing, given twice or cannot be read, or `end` is before `start`.
    """
    ship = _ship(_one(query, "spaceship_id", "1"))
    start, end = (_time(_one(query, name, "2018-08-24T00:00:00Z"), name) for name in ("start", "end"))
    if end < start:
        raise BadRequest(f"end: {_utc(end)} is before start, {_utc(start)}")
    return Period(ship, *(_utc(min(max(each, FIRST), LAST)) for each in (start, end)))


def json_text(body: bytes) -> bytes:
    """Return a body without a UTF-8 byte order mark, which JSON on the bus must not have.

    Raises:
        BadRequest: it is UTF-16 or UTF-32.
    """
    try:
        return without_byte_order_mark(body)
    except Rejected as rejected:
        raise BadRequest(f"malformed JSON: {rejected}") from None


def read_ship(body: bytes) -> str:
    """Return the ship of a post, as a topic level. The rest of the post is not checked.

    Raises:
        BadRequest: the post is not a JSON object, or has no usable ship.
    """
    try:
        body.decode()
        return _ship(_given(body))
    except UnicodeDecodeError as error:
        raise BadRequest(f"malformed JSON: byte {error.start + 1} is not UTF-8") from None
    except msgspec.ValidationError:
        raise BadRequest(_NO_OBJECT) from None
    except RecursionError:
        raise BadRequest("malformed JSON: it is nested too deeply") from None


def spelled(ship: str) -> int | str:
    """Return a ship as it is written in answers: a number where it is one."""
    return parse_identifier(ship)


def _given(body: bytes) -> Any:
    """Return `spaceship_id` as given. JSON that msgspec cannot read, with escaped surrogates, is read with `json`."""
    try:
        named = _post.decode(body).spaceship_id
        return msgspec.UNSET if isinstance(named, msgspec.UnsetType) else _loaded(named)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        pass
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)  # given bytes, it would accept UTF-16
    except ValueError as error:
        raise BadRequest(f"malformed JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest(_NO_OBJECT)
    return value.get("spaceship_id", msgspec.UNSET)


def _loaded(raw: msgspec.Raw) -> Any:
    try:
        return json.loads(bytes(raw))
    except ValueError:  # more digits than Python converts
        raise BadRequest(_NO_SHIP) from None


def _refuse_constant(name: str) -> None:
    """Refuse a constant that Python accepts and JSON does not have.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is no value of JSON")


def _one(query: QueryParams, name: str, example: str) -> str:
    given = query.getlist(name)
    if not given:
        raise BadRequest(f"{name}: is missing, such as ?{name}={example}")
    if len(given) > 1:
        raise BadRequest(f"{name}: is given more than once")
    return given[0]


def _ship(given: Any) -> str:
    if given is msgspec.UNSET:
        raise BadRequest("spaceship_id: is missing")
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise BadRequest(_NO_SHIP)
    text = str(given)
    if text != text.strip() or len(text) > LONGEST_SHIP or _NO_CHARACTER.search(text):
        raise BadRequest(f"spaceship_id: must be {LONGEST_SHIP} characters of text at most, with no blanks around it")
    try:
        RAW.template.topic(ship=text)
    except InvalidTopic as error:
        raise BadRequest(f"spaceship_id: {error}") from None
    return text


def _time(text: str, name: str) -> datetime:
    """Read ISO 8601, UTC without an offset. A `+` in a query string arrives as a blank."""
    written = text.strip()
    if offset := _BLANK_OFFSET.fullmatch(written):
        written = f"{offset[1]}+{offset[2]}"
    if hyphens := _HYPHENS.fullmatch(written):
        written = f"{hyphens[1]}:{hyphens[2]}:{hyphens[3]}"
    try:
        at = datetime.fromisoformat(written)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else min(max(at, FIRST), LAST).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name}: must be ISO 8601 such as 2018-08-24T00:00:00Z, not {text[:60]!r}") from None


def _utc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
