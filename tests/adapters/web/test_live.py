"""The tree of the latest messages: its rows are those of a plain walk, whatever is open."""

import tracemalloc
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web import live
from adapters.web.live import RATE_S, LiveTopics, Node, Topic
from broker.message import Message
from broker.mqtt.topics import matches

LEVELS = st.sampled_from(["", "a", "b", "room-1", "room-2", "room-10"])
TOPICS = st.lists(st.lists(LEVELS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=40)


def tree(*names: str) -> LiveTopics:
    topics = LiveTopics()
    for name in names:
        topics.take(Message(topic=name, payload=name.encode()), 0.0)
    return topics


def walk(topics: LiveTopics, opened: Collection[str]) -> list[str]:
    found: list[str] = []

    def below(node: Node) -> None:
        for child in node.children:
            found.append(child.path)
            if child.path in opened:
                below(child)

    below(topics._root)
    return found


@given(TOPICS, st.data())
def test_window_is_a_part_of_the_whole_walk(names: list[str], data: st.DataObject) -> None:
    topics = tree(*names)
    paths = sorted({"/".join(name.split("/")[:depth]) for name in names for depth in range(1, 5)})
    opened = data.draw(st.sets(st.sampled_from(paths)))
    whole = walk(topics, opened)
    start = data.draw(st.integers(0, len(whole) - 1))
    window = topics.window(opened, start, 7)
    assert window.total == len(whole)
    assert [row.node.path for row in window.rows] == whole[start : start + 7]


@given(TOPICS)
def test_rows_know_their_place_among_siblings(names: list[str]) -> None:
    topics = tree(*names)
    for row in topics.window({name.split("/")[0] for name in names}, 0, 100).rows:
        siblings = row.node.parent.children if row.node.parent else []
        assert (row.siblings, siblings[row.position - 1]) == (len(siblings), row.node)


def test_levels_are_in_natural_order() -> None:
    rows = tree("room-10", "room-9", "room-1a", "Room").window((), 0, 10).rows
    assert [row.node.level for row in rows] == ["Room", "room-1a", "room-9", "room-10"]


def test_a_leading_slash_is_a_level() -> None:
    topics = tree("/readings/room-1/temperature", "readings")
    assert walk(topics, {"", "/readings"}) == ["", "/readings", "/readings/room-1", "readings"]


def test_found_topics_are_shown_with_their_levels() -> None:
    topics = tree("a/b/c", "a/d", "e")
    wanted = [topic for topic in topics if topic.name in ("a/b/c", "e")]
    window = topics.found(wanted, 0, 10)
    assert [(row.node.path, row.expanded) for row in window.rows] == [("a", True), ("a/b", True), ("a/b/c", None), ("e", None)]
    assert [row.node.path for row in topics.found(wanted, 2, 10).rows] == ["a/b/c", "e"]


def test_counts_are_of_all_topics_below() -> None:
    topics = tree("a/b/c", "a/b/d", "a", "e")
    assert [row.node.topics for row in topics.window({"a"}, 0, 10).rows] == [3, 2, 1]


def test_rate_is_an_average_that_decays() -> None:
    topics = LiveTopics()
    for second in range(200):
        topics.take(Message(topic="a", payload=b"1"), float(second) / 2)
    topic = topics.get("a")
    assert topic is not None
    assert 1.8 < topic.rate(99.5) < 2.2
    assert topic.rate(99.5 + 10 * RATE_S) < 0.001


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b", "$c"]), min_size=1, max_size=4).map("/".join), min_size=1, max_size=30),
    st.lists(st.sampled_from(["", "a", "b", "$c", "+"]), min_size=0, max_size=3),
    st.sampled_from(["", "a", "+", "#"]),
)
def test_a_filter_selects_what_a_broker_would(names: list[str], levels: list[str], last: str) -> None:
    topics, wanted = tree(*names), "/".join([*levels, last])
    found = [topic.name for topic in topics.matching(wanted)]
    assert sorted(found) == sorted(name for name in set(names) if matches(wanted, name))


@given(TOPICS, st.sampled_from(["", "a", "b/", "/room", "room-1", "a\nb", "ROOM", "é"]), st.sampled_from([0, 2, 100]))
def test_names_are_searched_as_one_by_one(names: list[str], text: str, many: int) -> None:
    topics = tree(*names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "MANY_NAMES", many)
        found = [topic.name for topic in topics.named(text)]
        assert sorted(found) == sorted(name for name in set(names) if text in name)
        topics.take(Message(topic=f"new/{text}", payload=b""), 0.0)
        assert f"new/{text}" in [topic.name for topic in topics.named(text)] or text != text.lower()


class Watcher:
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_topic(self, topic: Topic) -> None:
        self.heard.append(topic.name)


def test_a_watcher_hears_of_its_topic_only() -> None:
    topics, watcher = tree("a", "b"), Watcher()
    topic = topics.get("a")
    assert topic is not None
    topic.watch(watcher)
    topics.growing[watcher] = None
    for name in ("a", "b", "c", "c"):
        topics.take(Message(topic=name, payload=b""), 0.0)
    topic.unwatch(watcher)
    topics.take(Message(topic="a", payload=b""), 0.0)
    assert watcher.heard == ["a", "c"]


HOSTILE = {
    "many topics": lambda i: (f"t/{i}", 10),
    "long topics": lambda i: (f"{i}/" + "x" * 5_000, 0),
    "deep topics": lambda i: (f"{i}/" + "/".join("abcdefgh" * 20), 0),
    "large payloads": lambda i: (f"p/{i}", 40_000),
    "payloads that grow": lambda i: (f"p/{i % 100}", i * 50),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_memory_is_bounded_whatever_is_published(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 3_000_000)
    tracemalloc.start()
    topics = LiveTopics()
    for number in range(4_000):
        name, size = HOSTILE[kind](number)
        topics.take(Message(topic=name, payload=b"x" * size), 0.0)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 1_000_000 < topics.bytes <= 3_000_000
    assert used < 3_500_000


def test_a_payload_is_cut_and_its_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LONGEST_KEPT", 10)
    topic = LiveTopics().take(Message(topic="a", payload=b"x" * 20), 0.0)
    assert topic is not None
    assert topic.message is not None
    assert (topic.message.payload, topic.size) == (b"x" * 10, 20)
