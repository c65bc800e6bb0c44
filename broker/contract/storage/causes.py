"""Why a message was published, and what it led to: a walk along the causes that are recorded, as a tree.

Sans-I/O and shared by `scaup why` and the page. A walk is a generator: it yields statements, is sent their rows, and returns
the tree. A statement fetches a whole level of the tree, from the most recent messages first, since causes are mostly close.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from broker.contract.sql import Statement
from broker.stamp import TICK, rfc3339

T = TypeVar("T")
Rows = list[dict[str, Any]]
Walk = Generator[Statement, Rows, T]

RECENT = 200_000
"""Messages before one in which its causes are looked for first."""
MOST_EFFECTS = 100
"""Effects of one message that are shown."""
MOST_ROWS = 5_000
"""Effects of one level of the tree."""
DEEPEST = 20
EXPIRED = "expired"

_PAYLOAD = "coalesce(payload, '(' || octet_length(payload_raw) || ' bytes)') AS payload"
_COLUMNS = f"number, received_at, topic, {_PAYLOAD}, source, boot, seq, cause"

_NUMBERED = f"SELECT {_COLUMNS} FROM messages WHERE number = $number"  # noqa: S608, like the others made of constants
_NEWEST = "SELECT max(number) AS number FROM messages WHERE topic = $topic AND received_at <= $at::TIMESTAMPTZ"
_COMPONENTS = "SELECT DISTINCT component FROM component_state"
_STAMPED = f"""
WITH wanted AS (SELECT unnest($sources::VARCHAR[]) AS source, unnest($boots::VARCHAR[]) AS boot, unnest($seqs::BIGINT[]) AS seq)
SELECT {_COLUMNS} FROM messages SEMI JOIN wanted USING (source, boot, seq)
WHERE number > $after AND number < $before AND seq BETWEEN $lowest AND $highest
"""  # noqa: S608
_LAST_ON = f"""
WITH wanted AS (SELECT unnest($topics::VARCHAR[]) AS topic, unnest($befores::BIGINT[]) AS before)
SELECT {_COLUMNS} FROM messages WHERE number IN (
    SELECT max(number) FROM messages JOIN wanted USING (topic) WHERE number > $after AND number < before GROUP BY topic, before)
"""  # noqa: S608
_NEXT_ON = """
WITH wanted AS (SELECT unnest($topics::VARCHAR[]) AS topic, unnest($numbers::BIGINT[]) AS number)
SELECT wanted.number, min(messages.number) AS next FROM messages JOIN wanted
ON messages.topic = wanted.topic AND messages.number > wanted.number GROUP BY wanted.number
"""
_LED_TO = f"""
SELECT {_COLUMNS} FROM messages WHERE number > $number AND list_has_any(cause, $references::VARCHAR[])
ORDER BY number LIMIT {MOST_ROWS}
"""  # noqa: S608
_LAST = 2**62


@dataclass(slots=True)
class Node:
    """A message, a tick, or a message that is no longer recorded; what it follows from, or with `effects` what it led to."""

    kind: str
    """`component`, `device`, `person`, `tick` or `expired`."""
    at: datetime
    """When it was recorded; of a tick and of an expired message, its effect."""
    number: int | None = None
    topic: str | None = None
    payload: str | None = None
    source: str | None = None
    reference: str = ""
    """How a cause names it."""
    entries: tuple[str, ...] = ()
    """Its causes, as recorded."""
    children: "list[Node]" = field(default_factory=list)
    cut: bool = False
    """There is more below, which was not asked for."""

    def as_json(self, children: str = "causes") -> dict[str, Any]:
        """Return it as the command prints it; `children` is `causes` or `effects`."""
        found: dict[str, Any] = {"kind": self.kind, "at": rfc3339(self.at)}
        if self.kind == EXPIRED:
            return {**found, "cause": self.reference}
        if self.kind != TICK:
            message = {"number": self.number, "topic": self.topic, "payload": self.payload, "source": self.source}
            found = {**message, **found, children: [each.as_json(children) for each in self.children]}
        return {**found, "cut": True} if self.cut else found


def newest(topic: str, at: datetime) -> Walk[int | None]:
    """Find the number of the last message on a topic at an instant, None if there is none."""
    (row,) = yield Statement(_NEWEST, {"topic": topic, "at": at.isoformat()})
    return None if row["number"] is None else int(row["number"])


def causes_of(number: int, depth: int = DEEPEST) -> Walk[Node | None]:
    """Follow what a message follows from, to devices, people and ticks; None where there is no such message."""
    root, components = yield from _begin(number)
    level = [root] if root is not None else []
    known: dict[int, Node] = {node.number: node for node in level if node.number is not None}
    for _ in range(depth):
        found = yield from _caused_by(level, components)
        level = _attach(level, found, known)
        if not level:
            break
    for node in level:
        node.cut = bool(node.entries)
    return root


def effects_of(number: int, depth: int = DEEPEST) -> Walk[Node | None]:
    """Follow what a message led to; None where there is no such message."""
    root, components = yield from _begin(number)
    if root is None:
        return None
    level, known = [root], {root.number}
    for remaining in range(depth, -1, -1):
        yield from _led_to(level, components)
        for node in level:
            new = [each for each in node.children if each.number not in known]
            node.cut = bool(new) if not remaining else len(node.children) >= MOST_EFFECTS
            node.children = new if remaining else []
            known |= {each.number for each in node.children}
        level = [each for node in level for each in node.children]
        if not level:
            break
    return root


def _begin(number: int) -> Walk[tuple[Node | None, frozenset[str]]]:
    rows = yield Statement(_NUMBERED, {"number": number})
    names = yield Statement(_COMPONENTS, {})
    components = frozenset(str(row["component"]) for row in names)
    return (_node(rows[0], components) if rows else None), components


def _caused_by(level: list[Node], components: frozenset[str]) -> Walk[dict[tuple[str, int], Node]]:
    """Fetch the causes of a level, by entry and number of the effect; those that are recorded no longer are left out."""
    wanted = [(entry, node.number or 0) for node in level for entry in node.entries if entry != TICK]
    found: dict[tuple[str, int], Node] = {}
    lowest = min((number for _, number in wanted), default=0)
    for after in (lowest - RECENT, 0):
        missing = [each for each in wanted if each not in found]
        if not missing or after < 0:
            continue
        yield from _fetch(missing, after, components, found)
    return found


def _fetch(
    wanted: list[tuple[str, int]], after: int, components: frozenset[str], found: dict[tuple[str, int], Node]
) -> Walk[None]:
    stamps = {entry: stamp for entry, _ in wanted if (stamp := _parse(entry)) is not None}
    if stamps:
        sources, boots, seqs = (list(each) for each in zip(*stamps.values(), strict=True))
        bounds = {"after": after, "before": max(number for _, number in wanted), "lowest": min(seqs), "highest": max(seqs)}
        rows = yield Statement(_STAMPED, {"sources": sources, "boots": boots, "seqs": seqs, **bounds})
        nodes = {node.reference: node for node in (_node(row, components) for row in _by_number(rows, last_first=True))}
        found |= {(entry, number): nodes[entry] for entry, number in wanted if entry in nodes}
    topics = [each for each in wanted if each not in found and each[0] not in stamps]
    if topics:
        names, befores = (list(each) for each in zip(*topics, strict=True))
        rows = yield Statement(_LAST_ON, {"topics": names, "befores": befores, "after": after})
        for topic, before in topics:
            last = next((row for row in _by_number(rows, True) if row["topic"] == topic and row["number"] < before), None)
            if last is not None:
                found[topic, before] = _node(last, components)


def _attach(level: list[Node], found: dict[tuple[str, int], Node], known: dict[int, Node]) -> list[Node]:
    """Give each node of a level its causes; return those that are new and have causes in turn."""
    below: list[Node] = []
    for node in level:
        for entry in node.entries:
            cause = found.get((entry, node.number or 0))
            if entry == TICK:
                node.children.append(Node(TICK, node.at))
            elif cause is None or cause.number is None:
                node.children.append(Node(EXPIRED, node.at, reference=entry))
            elif cause.number in known:
                node.children.append(known[cause.number])
            else:
                known[cause.number] = cause
                node.children.append(cause)
                if cause.entries:
                    below.append(cause)
    return below


def _led_to(level: list[Node], components: frozenset[str]) -> Walk[None]:
    """Give each node of a level its effects; a message without a stamp is the cause until there is another on its topic."""
    until: dict[int, int] = {}
    without = [node for node in level if node.reference == node.topic]
    if without:
        wanted = {"topics": [node.topic for node in without], "numbers": [node.number for node in without]}
        rows = yield Statement(_NEXT_ON, wanted)
        until = {int(row["number"]): int(row["next"]) for row in rows}
    references = {"references": list(dict.fromkeys(node.reference for node in level))}
    rows = yield Statement(_LED_TO, {"number": min(node.number or 0 for node in level), **references})
    effects = [_node(row, components) for row in rows]
    for node in level:
        number = node.number or 0
        last = until.get(number, _LAST)
        found = (each for each in effects if node.reference in each.entries and number < (each.number or 0) <= last)
        node.children = [each for _, each in zip(range(MOST_EFFECTS), found, strict=False)]


def _node(row: dict[str, Any], components: frozenset[str]) -> Node:
    source, boot, seq = row["source"], row["boot"], row["seq"]
    entries = tuple(row["cause"] or ())
    at = row["received_at"]
    return Node(
        kind=_kind(source, bool(entries), components),
        at=at if isinstance(at, datetime) else datetime.fromisoformat(at),
        number=int(row["number"]),
        topic=row["topic"],
        payload=row["payload"],
        source=source,
        reference=f"{source}/{boot}/{seq}" if None not in (source, boot, seq) else row["topic"],
        entries=entries,
    )


def _kind(source: str | None, is_caused: bool, components: frozenset[str]) -> str:
    """A component that names no cause passes on what a device says, or stands for one: adapters and simulators."""
    if source is None:
        return "device"
    if source not in components:
        return "person"
    return "component" if is_caused else "device"


def _parse(entry: str) -> tuple[str, str, int] | None:
    """Read `source/boot/seq`; None for a topic. A topic that looks the same is found by neither, and so `expired`."""
    parts = entry.split("/")
    if len(parts) != 3 or not all(parts) or not (parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 19):
        return None
    return parts[0], parts[1], int(parts[2])


def _by_number(rows: Iterable[dict[str, Any]], last_first: bool) -> Rows:
    return sorted(rows, key=lambda row: int(row["number"]), reverse=last_first)
