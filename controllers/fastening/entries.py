"""Entries of the catalog's files: their fields, and sentences about what is wrong with them."""

import json
from typing import Annotated, Any

import msgspec

from broker.contract.fastening.topics import Torque
from broker.errors import Rejected
from broker.message import convert

Text = Annotated[
    str, msgspec.Meta(pattern=r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$", max_length=256)
]
"""Text that a person can type and read: no control characters, no surrounding blanks."""

StepNumber = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

SERIALS, PARTS, STEPS = "serials.json", "parts.json", "steps.json"

EXAMPLES = {
    SERIALS: '{"serialNumber":"RP-000123","partId":7}',
    PARTS: '{"partId":7,"partNumber":"10-00045","revision":"B"}',
    STEPS: '{"partId":7,"step":1,"torque":{"target":10.0,"min":9.5,"max":10.5}}',
}
_FIELDS = {
    SERIALS: ("serialNumber", "partId"),
    PARTS: ("partId", "partNumber", "revision"),
    STEPS: ("partId", "step", "torque", "torque.target", "torque.min", "torque.max"),
}
_NAMES = {"serialNumber": "serial number", "partNumber": "part", "revision": "revision", "step": "step", "partId": "partId"}
"""Fields that identify an entry, and the words for them."""
_TEXT_WANTED = "text in quotation marks, with no spaces around it, 1 to 256 characters", Text
_WANTED: dict[str, tuple[str, Any]] = {
    "serialNumber": _TEXT_WANTED,
    "partNumber": _TEXT_WANTED,
    "revision": _TEXT_WANTED,
    "partId": ("a whole number without quotation marks", int),
    "step": ("a whole number from 1 to 1,000,000, without quotation marks", StepNumber),
    "torque": ("an object with target, min and max", dict),
    "torque.": ("a number of N·m without quotation marks", Torque),
}
"""What a field must be, in words and as a type."""
_LONGEST_SHOWN = 80


def lines(text: str) -> list[int]:
    """Return the line on which each value of a JSON array begins; none where that cannot be found."""
    decoder, found, line, counted = json.JSONDecoder(), list[int](), 1, 0
    try:
        at = _next(text, _next(text, 0) + 1)
        while text[at] != "]":
            line, counted = line + text.count("\n", counted, at), at
            found.append(line)
            at = _next(text, decoder.raw_decode(text, at)[1])
            at = _next(text, at + 1) if text[at] == "," else at
    except (ValueError, IndexError, RecursionError):  # in a value that is nested very deeply
        return []
    return found


def _next(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def known(entry: Any) -> str:
    """Return what an entry that cannot be read is about, as far as it says so."""
    if not isinstance(entry, dict):
        return ""
    named = [(word, entry.get(field)) for field, word in _NAMES.items()]
    given = [f"{word} {value}" for word, value in named if type(value) in (str, int) and str(value).strip()]
    text = ", ".join(given)[:_LONGEST_SHOWN]
    return f", {text}" if text and text.isprintable() else ""


def mistakes(name: str, entry: Any) -> list[str]:
    """Return what is wrong with the fields of an entry, a sentence each."""
    if not isinstance(entry, dict):
        return [f"must be an object in braces such as {EXAMPLES[name]}, not {_shown(entry)}"]
    torque = entry.get("torque")
    flat = entry | ({f"torque.{field}": value for field, value in torque.items()} if isinstance(torque, dict) else {})
    return [text for field in _FIELDS[name] if (text := _mistake(name, field, flat))]


def _mistake(name: str, field: str, entry: dict[str, Any]) -> str | None:
    if field.startswith("torque.") and not isinstance(entry.get("torque"), dict):
        return None  # the mistake is that of `torque`
    if field not in entry:
        return f"{field} is missing: add it, as in {EXAMPLES[name]}"
    wanted, shape = _WANTED["torque." if field.startswith("torque.") else field]
    try:
        convert(entry[field], shape)
    except Rejected:
        return f"{field} must be {wanted}, not {_shown(entry[field])}"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
