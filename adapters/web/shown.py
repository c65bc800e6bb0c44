"""The live parts of a page.

Each collects what changed since it was last sent, so that a slow page skips values, and counts them. All of them are pure:
`on_topic` takes the topic of a message that has arrived, `update` returns what is to be sent, as JSON.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from adapters.web.live import MOST_TOPICS, LiveTopics, Node, Row, Topic
from broker.message import Message
from broker.mqtt.topics import matches
from broker.stamp import rfc3339

LONGEST_PREVIEW = 240
LONGEST_PAYLOAD = 256 * 1024
MOST_ROWS = 500
REFRESH_S = 2.0
"""Rates are sent at least this often while they are not zero."""
STRUCTURE_S = 0.5
"""A tree that grows is sent again after this time."""


class Shown(Protocol):
    """A live part of a page."""

    def on_topic(self, topic: Topic) -> None:
        """Note that a message of a topic has arrived."""
        ...

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return what is to be sent now, None if nothing has changed. `now_s` is wall time, seconds since 1970."""
        ...


class TreeShown:
    """A window of the tree of topics, all of them or those that a filter finds.

    Args:
        topics: the tree.
        opened: paths of the open levels; without effect while there is a filter.
        text: filter, see `topic_filter`; empty: none.
        start: number of the first row.
        count: rows.
    """

    def __init__(self, topics: LiveTopics, opened: Collection[str], text: str, start: int, count: int) -> None:
        self._topics, self._opened, self._start = topics, frozenset(opened), max(0, min(start, MOST_TOPICS))
        self._count = max(0, min(count, MOST_ROWS))
        self._matches = topic_filter(text) if text.strip() else None
        self._found: dict[Topic, None] = {}
        self._unchecked: set[Topic] = set()
        self._visible: frozenset[Topic] = frozenset()
        self._changed: set[Topic] = set()
        self._skipped = self._seen = 0
        self._grown = -1
        self._structure_s = self._refreshed_s = 0.0
        self._sent: tuple[Row, ...] = ()
        if self._matches is not None:
            self._found = {topic: None for topic in topics if self._matches(topic)}

    def on_topic(self, topic: Topic) -> None:
        """Note a change."""
        if topic in self._visible:
            self._seen += 1
            self._changed.add(topic)
        if self._matches is not None and topic not in self._found:
            self._unchecked.add(topic)

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return the whole window if its rows are others now, or the rows that changed."""
        self._check_new()
        content: dict[str, Any] = {}
        state = self._topics.grown if self._matches is None else len(self._found)
        if state != self._grown and now_s - self._structure_s >= STRUCTURE_S:
            self._grown, self._structure_s = state, now_s
            content = self._window(now_s)
        if "rows" not in content:
            content |= self._values(now_s)
        self._skipped += max(0, self._seen - len(self._changed))
        self._seen = 0
        self._changed.clear()
        return content | {"skipped": self._skipped} if content else None

    def _check_new(self) -> None:
        if self._matches is not None:
            self._found |= {topic: None for topic in self._unchecked if self._matches(topic)}
            self._unchecked.clear()

    def _window(self, now_s: float) -> dict[str, Any]:
        if self._matches is None:
            window = self._topics.window(self._opened, self._start, self._count)
        else:
            window = self._topics.found(self._found, self._start, self._count)
        summary = {"total": window.total, "topics": len(self._topics), "found": self._found_count(), "start": window.start}
        if window.rows == self._sent:
            return summary
        self._sent, self._refreshed_s = window.rows, now_s
        self._visible = frozenset(row.node.topic for row in window.rows if row.node.topic is not None)
        return summary | {"rows": [_row(each, now_s) for each in window.rows]}

    def _found_count(self) -> int | None:
        return None if self._matches is None else len(self._found)

    def _values(self, now_s: float) -> dict[str, Any]:
        refresh = now_s - self._refreshed_s >= REFRESH_S
        if refresh:
            self._refreshed_s = now_s
        values = {
            str(index): _value(topic, now_s)
            for index, row in enumerate(self._sent)
            if (topic := row.node.topic) is not None and (topic in self._changed or (refresh and topic.rate(now_s) > 0.005))
        }
        return {"values": values} if values else {}


class TopicShown:
    """One topic: its latest message as a whole."""

    def __init__(self, topics: LiveTopics, name: str) -> None:
        self._topics, self._name = topics, name
        self._sent = -1
        self._skipped = 0

    def on_topic(self, topic: Topic) -> None:
        """Nothing to note: `update` compares numbers."""

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return the message, if it is a new one."""
        topic = self._topics.get(self._name)
        if topic is None or topic.message is None:
            changed = self._sent != 0
            self._sent = 0
            return {"topic": self._name, "message": None} if changed else None
        if topic.number == self._sent:
            return None
        self._sent = topic.number
        return {"topic": self._name, "message": describe(topic.message, topic.at_s), "count": topic.count,
                "rate": round(topic.rate(now_s), 3)}  # fmt: skip


class LatestShown:
    """The latest messages of all topics that match some filters."""

    def __init__(self, topics: LiveTopics, filters: Sequence[str]) -> None:
        self._topics, self._filters = topics, tuple(filters)
        self._known: dict[str, bool] = {}
        self._changed: dict[Topic, None] = {topic: None for topic in topics if self._is_wanted(topic)}
        self._begun = False
        self._seen = self._skipped = 0

    def on_topic(self, topic: Topic) -> None:
        """Note a change."""
        if self._is_wanted(topic):
            self._seen += 1
            self._changed[topic] = None

    def _is_wanted(self, topic: Topic) -> bool:
        known = self._known.get(topic.name)
        if known is None:
            known = self._known[topic.name] = any(matches(each, topic.name) for each in self._filters)
        return known

    def update(self, now_s: float) -> dict[str, Any] | None:  # noqa: ARG002 - the same for all that is shown
        """Return the latest messages of the topics that changed, the first time those of all."""
        if self._begun and not self._changed:
            return None
        self._skipped += max(0, self._seen - len(self._changed))
        latest = [_latest(each) for each in self._changed]
        content = {"latest": latest, "whole": not self._begun, "skipped": self._skipped}
        self._begun, self._seen = True, 0
        self._changed.clear()
        return content


def topic_filter(wanted: str) -> Callable[[Topic], bool]:
    """Return a test for topics: an MQTT filter if there is `+` or `#` in it, else a text in topic or payload, in any case."""
    wanted = wanted.strip()
    if "+" in wanted or "#" in wanted:
        return lambda topic: matches(wanted, topic.name)
    name, payload = wanted.lower(), wanted.encode().lower()
    return lambda topic: name in topic.lowered or (topic.message is not None and payload in topic.message.payload.lower())


def describe(message: Message, at_s: float) -> dict[str, Any]:
    """Return all of a message as JSON: payload, properties, and when it arrived (seconds since 1970)."""
    return {
        "payload": text(message, LONGEST_PAYLOAD),
        "bytes": len(message.payload),
        "binary": _decoded(message.payload) is None,
        "at": at_s,
        "plant_at": plant_at(message),
        "qos": message.qos,
        "retain": message.retain,
        "source": message.stamp.source,
        "boot": message.stamp.boot,
        "seq": message.stamp.seq,
        "content_type": message.content_type,
        "properties": list(message.properties),
    }


def text(message: Message | None, longest: int) -> str:
    """Return the first characters of a payload, in hexadecimal if it is not UTF-8."""
    if message is None:
        return ""
    decoded = _decoded(message.payload[: 4 * longest])
    return message.payload[: longest // 3].hex(" ") if decoded is None else decoded[:longest]


def plant_at(message: Message | None) -> str | None:
    """Return the plant time of a message, RFC 3339."""
    at = message.stamp.plant_at if message is not None else None
    return None if at is None else rfc3339(at)


def _latest(topic: Topic) -> dict[str, Any]:
    payload = text(topic.message, LONGEST_PAYLOAD)
    return {"topic": topic.name, "payload": payload, "at": topic.at_s, "plant_at": plant_at(topic.message)}


def _decoded(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        return payload[: error.start].decode() if error.end == len(payload) and error.start else None


def _row(row: Row, now_s: float) -> dict[str, Any]:
    node: Node = row.node
    shape = {"path": node.path, "level": node.level, "depth": node.depth, "position": row.position, "siblings": row.siblings,
             "open": row.expanded, "topics": node.topics}  # fmt: skip
    return shape | (_value(node.topic, now_s) if node.topic is not None else {})


def _value(topic: Topic, now_s: float) -> dict[str, Any]:
    return {"value": text(topic.message, LONGEST_PREVIEW), "at": topic.at_s, "rate": round(topic.rate(now_s), 2)}
