"""The latest message of every topic, as a tree of topic levels. Pure.

A page shows a window of the tree's rows. Only what the window needs is computed: the cost of a message does not depend on the
number of topics or of pages that show others, and the cost of a window not on the rows outside of it.
"""

import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from operator import attrgetter
from typing import Protocol

from broker.message import Message

RATE_S = 10.0
"""Time constant of the rate of messages."""
MOST_TOPICS = 500_000
"""Topics that are kept. Of further ones only the number is known."""
MOST_BYTES = 256 * 1024 * 1024
"""Memory for topics and payloads, as estimated here. A payload that does not fit is cut, and a new topic not kept."""
LONGEST_KEPT = 256 * 1024
"""Bytes of a payload that are kept."""
TOPIC_BYTES, LEVEL_BYTES = 1_200, 600
"""Memory of a topic and of a level, besides their names."""
MANY_NAMES = 5_000
"""Topics that a search in all names finds at most: more are found faster one by one."""
LONGEST_FOUND = 10_000
"""Topics that a filter shows at most."""
_NUMBERS = re.compile(r"(\d+)")

Match = Callable[["Topic"], bool]


class Watcher(Protocol):
    """What is notified of messages on the topics that it watches."""

    def on_topic(self, topic: "Topic") -> None:
        """Note that a message of a topic has arrived."""
        ...


class Topic:
    """The latest message of a topic.

    Attributes:
        lowered, searched: name and payload in lower case, for searches.
        at_s: wall time of arrival, seconds since 1970.
        size: bytes of its whole payload, of which `message` may have the first part only.
        count: messages since the start.
        number: of the message among all that arrived, from 1: it orders the latest messages of two topics by age.
        node: of the tree, where it ends.
        watchers: are called with each of its messages.
    """

    __slots__ = ("_rate", "at_s", "count", "lowered", "message", "name", "node", "number", "searched", "size", "watchers")

    node: "Node"

    def __init__(self, name: str) -> None:
        lowered = name.lower()
        self.name, self.lowered = name, name if lowered == name else lowered
        self.message: Message | None = None
        self.searched = b""
        self.at_s = 0.0
        self.count = self.number = self.size = 0
        self.watchers: tuple[Watcher, ...] = ()
        self._rate = 0.0

    def take(self, message: Message, size: int, number: int, at_s: float) -> None:
        """Replace the latest message, whose payload had `size` bytes."""
        self._rate = self._rate * math.exp(-max(0.0, at_s - self.at_s) / RATE_S) + 1 / RATE_S
        self.message, self.size, self.at_s, self.number = message, size, at_s, number
        payload = message.payload
        lowered = payload.lower()
        self.searched = payload if lowered == payload else lowered
        self.count += 1

    def contains(self, name: str, payload: bytes) -> bool:
        """Return whether there is a text in the name, or in the payload; both in lower case."""
        return name in self.lowered or payload in self.searched

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` with each message of this topic."""
        self.watchers = (*self.watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop calling `watcher`."""
        self.watchers = tuple(each for each in self.watchers if each is not watcher)

    def rate(self, now_s: float) -> float:
        """Return the messages per second, averaged over about ten seconds."""
        return self._rate * math.exp(-max(0.0, now_s - self.at_s) / RATE_S)


class Node:
    """A level of the tree.

    Attributes:
        topic: the topic that ends here, None if none does.
        topics: number of topics here and below.
    """

    __slots__ = ("_children", "_is_sorted", "_sorted", "depth", "key", "level", "parent", "topic", "topics")

    def __init__(self, level: str, parent: "Node | None") -> None:
        self.level, self.parent = level, parent
        self.depth: int = -1 if parent is None else parent.depth + 1
        self.key = _natural(level)
        self.topic: Topic | None = None
        self.topics = 0
        self._children: dict[str, Node] = {}
        self._sorted: list[Node] = []
        self._is_sorted = True

    @property
    def path(self) -> str:
        """The topic up to here, such as `heating/room-1`."""
        levels: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            levels.append(node.level)
            node = node.parent
        return "/".join(reversed(levels))

    def child(self, level: str) -> "Node":
        """Return the child of this name, made if it is new."""
        found = self._children.get(level)
        if found is None:
            found = self._children[level] = Node(level, self)
            self._sorted.append(found)
            self._is_sorted = False
        return found

    def get(self, level: str) -> "Node | None":
        """Return the child of this name, None if there is none."""
        return self._children.get(level)

    @property
    def children(self) -> list["Node"]:
        """The children in natural order: `room-2` before `room-10`."""
        if not self._is_sorted:  # quick where a few have come at the end: the rest is in order already
            self._sorted.sort(key=_BY_KEY)
            self._is_sorted = True
        return self._sorted

    @property
    def unsorted(self) -> Collection["Node"]:
        """The children in the order of their first message."""
        return self._children.values()

    @property
    def has_children(self) -> bool:
        """Whether there are levels below."""
        return bool(self._children)


@dataclass(frozen=True, slots=True)
class Row:
    """One visible row of the tree; `position` and `siblings` count from 1."""

    node: Node
    position: int
    siblings: int
    expanded: bool | None
    """None for a node without children."""


@dataclass(frozen=True, slots=True)
class Window:
    """The rows from `start` on, of `total`."""

    start: int
    total: int
    rows: tuple[Row, ...]


class LiveTopics:
    """The tree of all topics.

    Attributes:
        number: messages that have arrived.
        omitted: messages of topics beyond `MOST_TOPICS` or `MOST_BYTES`.
        grown: number that changes whenever a topic is added.
        bytes: memory that topics and payloads take, estimated; at most `MOST_BYTES`.
        growing: watchers of the first message of each topic.
        everything: watchers of each message.
    """

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}
        self._root = Node("", None)
        self.number = self.omitted = self.grown = self.bytes = 0
        self._names: _Names | None = None
        self.growing: dict[Watcher, None] = {}
        self.everything: dict[Watcher, None] = {}

    def __len__(self) -> int:
        """Return the number of topics."""
        return len(self._topics)

    def __iter__(self) -> Iterator[Topic]:
        """Iterate over the topics in the order of their first message."""
        return iter(self._topics.values())

    def get(self, name: str) -> Topic | None:
        """Return a topic, None if nothing arrived on it."""
        return self._topics.get(name)

    def take(self, message: Message, at_s: float) -> Topic | None:
        """Take a message, and call who watches its topic; return the topic, None if there is no room for it.

        Args:
            message: any message.
            at_s: wall time, seconds since 1970.
        """
        topic = self._topics.get(message.topic)
        is_new = topic is None
        if topic is None:
            topic = self._add(message.topic)
            if topic is None:
                self.omitted += 1
                return None
        size = len(message.payload)
        before = len(topic.searched)
        room = min(LONGEST_KEPT, (MOST_BYTES - self.bytes) // 2 + before)
        if size > room:
            message = replace(message, payload=message.payload[:room])
        self.bytes += 2 * (min(size, room) - before)  # twice: a second one is kept in lower case
        self.number += 1
        topic.take(message, size, self.number, at_s)
        for each in topic.watchers:
            each.on_topic(topic)
        if is_new and self.growing:
            for each in list(self.growing):
                each.on_topic(topic)
        if self.everything:
            for each in self.everything:
                each.on_topic(topic)
        return topic

    def _add(self, name: str) -> Topic | None:
        levels = name.split("/")
        new = len(levels) - self._known_levels(levels)
        cost = TOPIC_BYTES + 4 * len(name) + new * LEVEL_BYTES
        if len(self._topics) >= MOST_TOPICS or self.bytes + cost > MOST_BYTES:
            return None
        self.bytes += cost
        topic = self._topics[name] = Topic(name)
        node = self._root
        node.topics += 1
        for level in levels:
            node = node.child(level)
            node.topics += 1
        node.topic, topic.node = topic, node
        self.grown += 1
        return topic

    def _known_levels(self, levels: list[str]) -> int:
        node: Node | None = self._root
        for known, level in enumerate(levels):
            node = node.get(level) if node is not None else None
            if node is None:
                return known
        return len(levels)

    def node(self, path: str) -> Node | None:
        """Return the node of a path, None if there is none."""
        node: Node | None = self._root
        for level in path.split("/"):
            node = node.get(level) if node is not None else None
        return node

    def named(self, text: str) -> list[Topic]:
        """Return the topics with a text, in lower case, in the name."""
        names = self._names
        if names is None or names.grown != self.grown:
            names = self._names = _Names(self)
        found = names.containing(text)
        return found if found is not None else [each for each in self if text in each.lowered]

    def holding(self, text: bytes) -> list[Topic]:
        """Return the topics with a text, in lower case, in the payload."""
        return [each for each in self._topics.values() if text in each.searched]

    def matching(self, wanted: str) -> Iterator[Topic]:
        """Iterate over the topics that a valid MQTT filter selects, without visiting the others."""
        *levels, last = wanted.split("/")
        levels += [] if last == "#" else [last]
        nodes = [self._root]
        for level in levels:
            nodes = [found for node in nodes for found in _children_at(node, level)]
        while nodes:
            node = nodes.pop()
            if node.topic is not None:
                yield node.topic
            if last == "#":
                nodes.extend(_children_at(node, "+"))

    def window(self, opened: Collection[str], start: int, count: int) -> Window:
        """Return some rows of the tree in which the nodes with these paths are open.

        Args:
            opened: paths; unknown ones are ignored.
            start: number of the first row, from 0.
            count: most rows to return.
        """
        nodes = {node for path in opened if (node := self.node(path)) is not None and node.has_children}
        visible = {node for node in nodes if _all_open(node.parent, nodes)}
        by_parent: dict[Node, list[Node]] = {}
        for node in visible:
            by_parent.setdefault(node.parent or self._root, []).append(node)
        heights: dict[Node, int] = {}
        for node in sorted(visible, key=lambda each: -each.depth):
            heights[node] = len(node.children) + sum(heights[each] for each in by_parent.get(node, ()))
        total = len(self._root.children) + sum(heights[each] for each in by_parent.get(self._root, ()))
        start = max(0, min(start, total - 1))
        rows = islice(_walk(self._root, by_parent, heights, start), count)
        return Window(start, total, tuple(rows))

    def found(self, matching: Collection[Topic], start: int, count: int) -> Window:
        """Return some rows of the tree of these topics only, with all their levels open."""
        kept: dict[Node, list[Node]] = {}
        seen: set[Node] = set()
        for topic in islice(matching, LONGEST_FOUND):
            node = topic.node
            while node.parent is not None and node not in seen:
                seen.add(node)
                kept.setdefault(node.parent, []).append(node)
                node = node.parent
        start = max(0, min(start, len(seen) - 1))
        return Window(start, len(seen), tuple(islice(_walk_found(self._root, kept), start, start + count)))


class _Names:
    """The names of all topics as one text: a search in it takes a tenth of the time that one in each name takes."""

    def __init__(self, topics: LiveTopics) -> None:
        self.grown = topics.grown
        self._topics = list(topics)
        self._text = "\n".join(each.lowered for each in self._topics)
        self._starts = array("Q", accumulate((len(each.lowered) + 1 for each in self._topics), initial=0))

    def containing(self, text: str) -> list[Topic] | None:
        """Return the topics with a text in the name; None if they are many, or it may reach from one name into the next."""
        if "\n" in text:
            return None
        found: list[Topic] = []
        at = self._text.find(text)
        while at >= 0:
            index = bisect_right(self._starts, at) - 1
            found.append(self._topics[index])
            if len(found) > MANY_NAMES:
                return None
            at = self._text.find(text, self._starts[index + 1])
        return found


_BY_KEY = attrgetter("key")


def _children_at(node: Node, level: str) -> Collection[Node]:
    """Return the children that a level of a filter selects: `+` all, but none that begins with `$` at the root."""
    if level != "+":
        return () if (child := node.get(level)) is None else (child,)
    return [each for each in node.unsorted if node.parent is not None or not each.level.startswith("$")]


def _all_open(node: Node | None, opened: set[Node]) -> bool:
    while node is not None and node.parent is not None:
        if node not in opened:
            return False
        node = node.parent
    return True


def _walk(node: Node, opened: dict[Node, list[Node]], heights: dict[Node, int], skip: int) -> Iterator[Row]:
    """Yield the rows below a node, but for the first `skip`, without visiting those."""
    children = node.children
    siblings = len(children)
    places = sorted((children.index(each) if siblings < 50 else _place(children, each), each) for each in opened.get(node, ()))
    index = 0
    for place, child in places:
        while index <= place:
            run = min(skip, place - index)
            index, skip = index + run, skip - run
            if index < place:
                yield _row(children[index], index, siblings, expanded=False)
                index += 1
                continue
            if skip:
                skip -= 1
            else:
                yield _row(child, place, siblings, expanded=True)
            index += 1
        inside = heights[child]
        if skip >= inside:
            skip -= inside
        else:
            yield from _walk(child, opened, heights, skip)
            skip = 0
    index, skip = index + min(skip, siblings - index), max(0, skip - (siblings - index))
    for position in range(index, siblings):
        yield _row(children[position], position, siblings, expanded=False)


def _place(children: list[Node], child: Node) -> int:
    place = bisect_right(children, child.key, key=lambda each: each.key) - 1
    while children[place] is not child:
        place -= 1
    return place


def _walk_found(node: Node, kept: dict[Node, list[Node]]) -> Iterator[Row]:
    children = sorted(kept.get(node, ()), key=lambda each: each.key)
    for position, child in enumerate(children):
        yield _row(child, position, len(children), expanded=child in kept)
        yield from _walk_found(child, kept)


def _row(node: Node, index: int, siblings: int, expanded: bool) -> Row:
    return Row(node, index + 1, siblings, expanded if expanded or node.has_children else None)


def _natural(text: str) -> tuple[tuple[int, int | str], ...]:
    return tuple((0, int(part)) if part.isdigit() and len(part) < 19 else (1, part) for part in _NUMBERS.split(text) if part)
