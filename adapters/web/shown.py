"""The live parts of a page.

Each watches the topics that it shows, and collects what changed since it was last sent, so that a slow page skips values, and
counts them. All are pure: `on_topic` takes the topic of a message that has arrived, `update` returns what to send, as JSON.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from adapters.web.live import MOST_TOPICS, LiveTopics, Node, Row, Topic
from broker.message import Message
from broker.mqtt.topics import matches, validate_filter
from broker.stamp import rfc3339

LONGEST_PREVIEW = 240
LONGEST_PAYLOAD = 256 * 1024
MOST_ROWS = 500
REFRESH_S = 2.0
"""Rates are sent at least this often while they are not zero."""
STRUCTURE_S = 0.5
"""A tree that grows is sent again after this time."""
MOST_EVENTS = 200
"""Messages that wait to be sent where each of them counts."""
LARGEST_PART = 1024 * 1024
"""Characters of payloads after which the rest of the latest messages waits for the next turn."""

Wake = Callable[[], None]
"""Called when there is something to send."""


class Shown(Protocol):
    """A live part of a page."""

    def on_topic(self, topic: Topic) -> None:
        """Note that a message of a topic has arrived."""
        ...

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return what is to be sent now, None if nothing has changed. `now_s` is wall time, seconds since 1970."""
        ...

    def close(self) -> None:
        """Stop watching."""
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

    def __init__(
        self, topics: LiveTopics, opened: Collection[str], text: str, start: int, count: int, wake: Wake = lambda: None
    ) -> None:
        self._topics, self._opened, self._start = topics, frozenset(opened), max(0, min(start, MOST_TOPICS))
        self._count, self._wake = max(0, min(count, MOST_ROWS)), wake
        self._matches = topic_filter(text) if text.strip() else None
        self._found: dict[Topic, None] = {}
        self._unchecked: set[Topic] = set()
        self._visible: frozenset[Topic] = frozenset()
        self._changed: set[Topic] = set()
        self._skipped = self._seen = 0
        self._grown = -1
        self._structure_s = self._refreshed_s = 0.0
        self._sent: tuple[Row, ...] = ()
        self._unsearched: bytes | None = None
        if self._matches is not None:
            wanted = text.strip()
            self._found = dict.fromkeys(topics.matching(wanted) if is_mqtt(wanted) else topics.named(wanted.lower()))
            self._unsearched = None if is_mqtt(wanted) else wanted.encode().lower()
        # A text is searched for in every payload. The topics of an MQTT filter are found by their names, once.
        self._heard = topics.growing if self._matches is None or is_mqtt(text) else topics.everything
        self._heard[self] = None
        self._hears_all = self._heard is topics.everything

    def on_topic(self, topic: Topic) -> None:
        """Note a change of a topic, that is in sight, new, or to be searched."""
        if topic in self._visible:
            if topic not in self._changed:
                self._changed.add(topic)
                self._wake()
            self._seen += 1
        elif self._matches is None:
            self._wake()
        elif topic not in self._found and topic not in self._unchecked:
            self._unchecked.add(topic)
            self._wake()

    def close(self) -> None:
        """Stop watching."""
        self._heard.pop(self, None)
        self._see(frozenset())

    def _see(self, visible: frozenset[Topic]) -> None:
        if not self._hears_all:
            for topic in self._visible - visible:
                topic.unwatch(self)
            for topic in visible - self._visible:
                topic.watch(self)
        self._visible = visible

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return the whole window if its rows are others now, or the rows that changed.

        A text is searched for in names, and the next time in payloads: `more` says that this follows.
        """
        self._check_new()
        if self._unsearched is not None and (self._grown >= 0 or not self._found):
            self._found |= dict.fromkeys(self._topics.holding(self._unsearched))
            self._unsearched, self._structure_s = None, 0.0
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
        return content | {"skipped": self._skipped, "more": self._unsearched is not None} if content else None

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
        self._see(frozenset(row.node.topic for row in window.rows if row.node.topic is not None))
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

    def __init__(self, topics: LiveTopics, name: str, wake: Wake = lambda: None) -> None:
        self._topics, self._name, self._wake = topics, name, wake
        self._topic = topics.get(name)
        self._sent = -1
        if self._topic is None:
            topics.growing[self] = None
        else:
            self._topic.watch(self)

    def on_topic(self, topic: Topic) -> None:
        """Note a change, or that the topic is there now."""
        if self._topic is None:
            if topic.name != self._name:
                return
            self._topics.growing.pop(self, None)
            self._topic = topic
            topic.watch(self)
        self._wake()

    def close(self) -> None:
        """Stop watching."""
        self._topics.growing.pop(self, None)
        if self._topic is not None:
            self._topic.unwatch(self)

    def update(self, now_s: float) -> dict[str, Any] | None:
        """Return the message, if it is a new one."""
        topic = self._topic
        if topic is None or topic.message is None:
            changed = self._sent != 0
            self._sent = 0
            return {"topic": self._name, "message": None} if changed else None
        if topic.number == self._sent:
            return None
        self._sent = topic.number
        return {"topic": self._name, "message": describe(topic.message, topic.at_s, topic.size), "count": topic.count,
                "rate": round(topic.rate(now_s), 3)}  # fmt: skip


class LatestShown:
    """The latest messages of all topics that match some filters."""

    def __init__(self, topics: LiveTopics, filters: Sequence[str], wake: Wake = lambda: None) -> None:
        self._topics, self._filters, self._wake = topics, tuple(filters), wake
        self._wanted = {topic for each in self._filters for topic in topics.matching(each)}
        self._changed: dict[Topic, None] = dict.fromkeys(sorted(self._wanted, key=lambda each: each.number))
        self._begun = False
        self._seen = self._skipped = 0
        for topic in self._wanted:
            topic.watch(self)
        topics.growing[self] = None

    def on_topic(self, topic: Topic) -> None:
        """Note a change, or a new topic."""
        if topic not in self._wanted:
            if not self._is_wanted(topic):
                return
            self._wanted.add(topic)
            topic.watch(self)
        self._seen += 1
        if topic not in self._changed:
            self._changed[topic] = None
            self._wake()

    def close(self) -> None:
        """Stop watching."""
        self._topics.growing.pop(self, None)
        for topic in self._wanted:
            topic.unwatch(self)

    def _is_wanted(self, topic: Topic) -> bool:
        return any(matches(each, topic.name) for each in self._filters)

    def update(self, now_s: float) -> dict[str, Any] | None:  # noqa: ARG002 - the same for all that is shown
        """Return the latest messages of the topics that changed, the first time those of all; large ones in several turns."""
        if self._begun and not self._changed:
            return None
        latest: list[dict[str, Any]] = []
        characters = 0
        for topic in self._changed:
            latest.append(_latest(topic))
            characters += len(latest[-1]["payload"]) + len(topic.name)
            if characters > LARGEST_PART:
                break
        self._skipped += max(0, self._seen - len(latest))
        content = {"latest": latest, "whole": not self._begun, "skipped": self._skipped}
        self._begun, self._seen = True, 0
        for _ in latest:
            del self._changed[next(iter(self._changed))]
        if self._changed:
            self._wake()
        return content


class EventsShown:
    """Every message of all topics that match some filters, from now on: of events, the one before the latest counts, too."""

    def __init__(self, topics: LiveTopics, filters: Sequence[str], wake: Wake = lambda: None) -> None:
        self._topics, self._filters, self._wake = topics, tuple(filters), wake
        self._watched = {topic for each in self._filters for topic in topics.matching(each)}
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._skipped = 0
        for topic in self._watched:
            topic.watch(self)
        topics.growing[self] = None

    def on_topic(self, topic: Topic) -> None:
        """Keep its message until it is sent; beyond `MOST_EVENTS`, the oldest is skipped."""
        if topic not in self._watched:
            if not any(matches(each, topic.name) for each in self._filters):
                return
            self._watched.add(topic)
            topic.watch(self)
        self._skipped += len(self._waiting) == MOST_EVENTS
        self._waiting.append(_latest(topic))
        self._wake()

    def close(self) -> None:
        """Stop watching."""
        self._topics.growing.pop(self, None)
        for topic in self._watched:
            topic.unwatch(self)

    def update(self, now_s: float) -> dict[str, Any] | None:  # noqa: ARG002 - the same for all that is shown
        """Return the messages that have arrived, oldest first."""
        if not self._waiting:
            return None
        events = [*self._waiting]
        self._waiting.clear()
        return {"events": events, "skipped": self._skipped}


def is_mqtt(wanted: str) -> bool:
    """Return whether the text of a filter is an MQTT filter: there is `+` or `#` in it."""
    return "+" in wanted or "#" in wanted


def topic_filter(wanted: str) -> Callable[[Topic], bool]:
    """Return a test for topics: an MQTT filter if there is `+` or `#` in it, else a text in topic or payload, in any case.

    Raises:
        InvalidTopic: it is no valid filter.
    """
    wanted = wanted.strip()
    if is_mqtt(wanted):
        validate_filter(wanted)
        return lambda topic: matches(wanted, topic.name)
    name, payload = wanted.lower(), wanted.encode().lower()
    return lambda topic: topic.contains(name, payload)


def describe(message: Message, at_s: float, size: int) -> dict[str, Any]:
    """Return all of a message as JSON: payload, the size of the whole one, properties, and when it arrived (s since 1970)."""
    return {
        "payload": text(message, LONGEST_PAYLOAD),
        "bytes": size,
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
