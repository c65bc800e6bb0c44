"""Frames of OCPP-J: `[2, id, action, payload]`, `[3, id, payload]` and `[4, id, code, description, details]`. Pure.

They are read as leniently as their meaning allows: real chargers have texts that are too long, units and contexts that no
version of the standard lists, and fields of their own.
"""

from dataclasses import dataclass
from typing import Any

from broker.errors import Rejected
from broker.message import encode, read_json

CALL, RESULT, FAILURE = 2, 3, 4
LONGEST_TEXT = 255
"""Characters of a description (OCPP-J 1.6 and 2.0.1, 4.2.3)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the charger."""

    id: str | int
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The charger's answer to a request."""

    id: str | int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The charger's answer to a request that it could not carry out."""

    id: str | int
    text: str


class Unusable(Rejected):
    """A call that cannot be used.

    Args:
        code: one of the standard's error codes.
        reason: text for people.
        unique_id: of the call, None where it has none that can be answered.
    """

    def __init__(self, code: str, reason: str, unique_id: str | int | None = None) -> None:
        super().__init__(reason)
        self.code, self.unique_id = code, unique_id


def read(payload: bytes) -> Call | Result | Failure:
    """Read a frame.

    Raises:
        Unusable: it is none; the `unique_id` of a call that can be answered is set.
    """
    try:
        frame = read_json(payload)
    except Rejected as error:
        raise Unusable("FormatViolation", str(error)) from error
    if not isinstance(frame, list) or len(frame) < 2:
        raise Unusable("FormatViolation", "not an OCPP frame: it must be a JSON array such as [2,id,action,payload]")
    kind, unique_id = frame[0], frame[1]
    if isinstance(kind, bool) or kind not in (CALL, RESULT, FAILURE):
        raise Unusable("FormatViolation", f"not an OCPP frame: its first element must be 2, 3 or 4, not {str(kind)[:50]}")
    if isinstance(unique_id, bool) or not isinstance(unique_id, str | int):
        raise Unusable("FormatViolation", "not an OCPP frame: its second element must be an id")
    return _read_call(unique_id, frame[2:]) if kind == CALL else _read_answer(kind, unique_id, frame[2:])


def result(unique_id: str | int, payload: Any) -> bytes:
    """Write the answer to a call."""
    return encode((RESULT, unique_id, payload))


def error(unique_id: str | int, code: str, description: str) -> bytes:
    """Write the answer to a call that cannot be used."""
    return encode((FAILURE, unique_id, code, description[:LONGEST_TEXT], {}))


def call(unique_id: str, action: str, payload: Any) -> bytes:
    """Write a request."""
    return encode((CALL, unique_id, action, payload))


def _read_call(unique_id: str | int, rest: list[Any]) -> Call:
    action = rest[0] if rest else None
    if not isinstance(action, str):
        raise Unusable("FormatViolation", "a call must have an action: [2,id,action,payload]", unique_id)
    payload = rest[1] if len(rest) > 1 else None
    if len(rest) == 1:
        raise Unusable("FormatViolation", f"the call {action[:50]} has no payload: [2,id,action,payload]", unique_id)
    if not isinstance(payload, dict):
        raise Unusable("TypeConstraintViolation", f"the payload of {action[:50]} must be an object", unique_id)
    return Call(unique_id, action, payload)


def _read_answer(kind: int, unique_id: str | int, rest: list[Any]) -> Result | Failure:
    if kind == RESULT:
        return Result(unique_id, rest[0] if rest and isinstance(rest[0], dict) else {})
    texts = [each for each in rest[:2] if isinstance(each, str) and each]
    return Failure(unique_id, ": ".join(texts) or "the charger gave no reason")
