"""The latest message of every topic, as a tree of topic levels. Pure.

A page shows a window of the tree's rows. Only what the window needs is computed: the cost of a message does not depend on the
number of topics, and the cost of a window not on the rows outside of it.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from broker.message import Message

RATE_S = 10.0
"""Time constant of the rate of messages."""
MOST_TOPICS = 500_000
"""Topics that are kept. Of further ones only the number is known."""
LONGEST_FOUND = 10_000
"""Topics that a filter shows at most."""
_NUMBERS = re.compile(r"(\d+)")

Match = Callable[["Topic"], bool]


class Topic:
    """The latest message of a topic.

    Attributes:
        lowered: name in lower case, for searches.
        at_s: wall time of arrival, seconds since 1970.
        count: messages since the start.
        number: of the message among all that arrived, from 1: it orders the latest messages of two topics by age.
    """

    __slots__ = ("_rate", "at_s", "count", "lowered", "message", "name", "number")

    def __init__(self, name: str) -> None:
        self.name, self.lowered = name, name.lower()
        self.message: Message | None = None
        self.at_s = 0.0
        self.count = self.number = 0
        self._rate = 0.0

    def take(self, message: Message, number: int, at_s: float) -> None:
        """Replace the latest message."""
        self._rate = self._rate * math.exp(-max(0.0, at_s - self.at_s) / RATE_S) + 1 / RATE_S
        self.message, self.at_s, self.number = message, at_s, number
        self.count += 1

    def rate(self, now_s: float) -> float:
        """Return the messages per second, averaged over about ten seconds."""
        return self._rate * math.exp(-max(0.0, now_s - self.at_s) / RATE_S)


class Node:
    """A level of the tree.

    Attributes:
        path: the topic up to here, such as `heating/room-1`.
        topic: the topic that ends here, None if none does.
        topics: number of topics here and below.
    """

    __slots__ = ("_children", "_sorted", "depth", "key", "level", "parent", "path", "topic", "topics")

    def __init__(self, level: str, parent: "Node | None") -> None:
        self.level, self.parent = level, parent
        self.depth: int = -1 if parent is None else parent.depth + 1
        self.path: str = level if parent is None or parent.parent is None else f"{parent.path}/{level}"
        self.key = _natural(level)
        self.topic: Topic | None = None
        self.topics = 0
        self._children: dict[str, Node] = {}
        self._sorted: list[Node] | None = None

    def child(self, level: str) -> "Node":
        """Return the child of this name, made if it is new."""
        found = self._children.get(level)
        if found is None:
            found = self._children[level] = Node(level, self)
            self._sorted = None
        return found

    def get(self, level: str) -> "Node | None":
        """Return the child of this name, None if there is none."""
        return self._children.get(level)

    def remove(self, child: "Node") -> None:
        """Remove a child."""
        del self._children[child.level]
        self._sorted = None

    @property
    def children(self) -> list["Node"]:
        """The children in natural order: `room-2` before `room-10`."""
        if self._sorted is None:
            self._sorted = sorted(self._children.values(), key=lambda each: each.key)
        return self._sorted

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
        omitted: messages of topics beyond `MOST_TOPICS`.
        grown: number that changes whenever a topic is added or removed.
    """

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}
        self._root = Node("", None)
        self.number = self.omitted = self.grown = 0

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
        """Take a message; return its topic, None if there are too many topics already.

        Args:
            message: any message.
            at_s: wall time, seconds since 1970.
        """
        topic = self._topics.get(message.topic)
        if topic is None:
            if len(self._topics) >= MOST_TOPICS:
                self.omitted += 1
                return None
            topic = self._add(message.topic)
        self.number += 1
        topic.take(message, self.number, at_s)
        return topic

    def _add(self, name: str) -> Topic:
        topic = self._topics[name] = Topic(name)
        node = self._root
        node.topics += 1
        for level in name.split("/"):
            node = node.child(level)
            node.topics += 1
        node.topic = topic
        self.grown += 1
        return topic

    def node(self, path: str) -> Node | None:
        """Return the node of a path, None if there is none."""
        node: Node | None = self._root
        for level in path.split("/"):
            node = node.get(level) if node is not None else None
        return node

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
            node = self.node(topic.name)
            while node is not None and node.parent is not None and node not in seen:
                seen.add(node)
                kept.setdefault(node.parent, []).append(node)
                node = node.parent
        rows = list(_walk_found(self._root, kept))
        start = max(0, min(start, len(rows) - 1))
        return Window(start, len(rows), tuple(rows[start : start + count]))


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
