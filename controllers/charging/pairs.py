"""Pairs of chargers and widgets, as people write them: one JSON object, charger → widget, with perhaps 100,000 entries."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from broker.contract.charging.topics import STATE, Pairs
from broker.errors import InvalidSetting, InvalidTopic, Rejected
from broker.message import read_json, without_byte_order_mark

LONGEST_ID = 256
"""Characters."""
MOST_NAMED = 20
"""Mistakes that an error lists."""
_WANTED = 'it must be a JSON object, charger → widget, such as {"c1234": "wABCD"}'
_ALL_TEXT = {str}
_SPECIAL = (b"\\", b"/", b"+", b"#", b"\x7f")
"""An ASCII JSON text without any of these has no id with forbidden characters."""


class InvalidPairs(InvalidSetting):
    """Pairs that cannot be used; the text names each entry and its mistake."""


def read_pairs(content: bytes) -> Pairs:
    """Read and check pairs. Ids are case-sensitive.

    Raises:
        InvalidPairs: it is not a JSON object, a charger has two entries, a widget is not a text or has several chargers, or an
            id cannot be a topic level.
    """
    try:
        content = without_byte_order_mark(content)
    except Rejected as error:
        raise InvalidPairs(str(error)) from error
    found = _decoded(content)
    if not found:
        raise InvalidPairs(f"it has no pairs; {_WANTED}")
    no_text = [] if _ALL_TEXT.issuperset(map(type, found.values())) else [c for c, w in found.items() if not isinstance(w, str)]
    _refuse([f"charger {each!a}: its widget must be a text in quotation marks" for each in no_text])
    plain = content.isascii() and not any(each in content for each in _SPECIAL)
    wrong = [f"charger {each!a}: {reason}" for each, reason in _unusable(found, plain)]
    wrong += [f"widget {each!a}: {reason}" for each, reason in _unusable(found.values(), plain)]
    if b"\\" in content or content.count(b'"') != 4 * len(found):  # no quotation marks but those around the ids
        wrong += _doubled(content)
    if len(set(found.values())) != len(found):
        wrong += _shared(found)
    _refuse(wrong)
    return Pairs(found)


class PairRefused(Exception):
    """A change of the pairs that is refused; the text is for the operator."""


def with_pair(pairs: Mapping[str, str], charger: str, widget: str) -> dict[str, str]:
    """Return the pairs with one more; the same pairs if it is among them.

    Raises:
        PairRefused: an id cannot be used, or the charger or the widget belongs to another pair.
    """
    for kind, each in (("charger", charger), ("widget", widget)):
        if reason := id_error(each):
            raise PairRefused(f"{kind} {each[:LONGEST_ID]!a}: {reason}")
    if (present := pairs.get(charger, widget)) != widget:
        raise PairRefused(f"charger {charger} has widget {present}: unpair {charger} first")
    owner = next((each for each, its in pairs.items() if its == widget), charger)
    if owner != charger:
        raise PairRefused(f"widget {widget} belongs to charger {owner}: unpair {owner} first")
    return {**pairs, charger: widget}


def without_pair(pairs: Mapping[str, str], charger: str) -> dict[str, str]:
    """Return the pairs without that of a charger.

    Raises:
        PairRefused: the charger is in no pair, or no pair would be left.
    """
    if charger not in pairs:
        raise PairRefused(f"charger {charger[:LONGEST_ID]} is in no pair")
    if len(pairs) == 1:
        raise PairRefused(f"charger {charger} is in the only pair: make another pair first")
    return {each: widget for each, widget in pairs.items() if each != charger}


def id_error(text: str) -> str | None:
    """Return why `text` cannot be the id of a charger or of a widget, None if it can."""
    if not text:
        return "an id must have at least one character"
    if len(text) > LONGEST_ID:
        return f"an id must have at most {LONGEST_ID} characters, not {len(text)}"
    try:
        STATE.template.topic(id=text)
    except InvalidTopic:
        return "an id becomes part of a topic: it must not contain / + # or control characters"
    return None


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        found = read_json(content)
    except Rejected as error:
        raise InvalidPairs(f"{error}; {_WANTED}") from error
    if not isinstance(found, dict):
        raise InvalidPairs(_WANTED)
    return found


def _doubled(content: bytes) -> list[str]:
    """Name the chargers with several entries, of which a JSON parser silently takes the last."""
    try:
        entries = json.loads(content, object_pairs_hook=list)
    except RecursionError:  # in an entry that is not the last of its name
        return ["it is nested too deeply"]
    counted = Counter(charger for charger, _ in entries)
    return [f"charger {each!a} has {times} entries: keep one" for each, times in counted.items() if times > 1]


def _unusable(ids: Collection[str], plain: bool) -> list[tuple[str, str]]:
    """Return the ids that cannot be used. There are almost never any, so all ids are checked at once first."""
    if (plain or _is_plain("".join(ids))) and all(ids) and max(map(len, ids), default=0) <= LONGEST_ID:
        return []
    return [(each[:LONGEST_ID], reason) for each in ids if (reason := id_error(each))]


def _is_plain(text: str) -> bool:
    return text.isprintable() and not any(each in text for each in "/+#")


def _shared(found: dict[str, str]) -> list[str]:
    chargers: dict[str, list[str]] = {}
    for charger, widget in found.items():
        chargers.setdefault(widget, []).append(charger)
    return [
        f"widget {widget!a} is assigned to {', '.join(f'{each!a}' for each in sharing)}: keep one of these pairs"
        for widget, sharing in chargers.items()
        if len(sharing) > 1
    ]


def _refuse(wrong: list[str]) -> None:
    if wrong:
        more = f"\n  and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise InvalidPairs("\n  ".join(wrong[:MOST_NAMED]) + more)
