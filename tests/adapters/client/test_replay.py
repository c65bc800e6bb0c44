"""What a replay publishes and when; no broker and no clock."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.client.replay import Recorded, Replay, Timeline, arrivals, marks, valid_prefix
from broker.errors import InvalidTopic
from broker.stamp import Stamp, read_stamp

START_AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
TOPIC = "/readings/room-1/temperature"


def at(seconds: float) -> datetime:
    return START_AT + timedelta(seconds=seconds)


def recorded(seconds: float = 0.0, topic: str = TOPIC, payload: bytes = b"1", qos: int = 1) -> Recorded:
    stamp = Stamp("sim-rooms", "b1", 7, at(-3600))
    return Recorded(received_at=at(seconds), topic=topic, payload=payload, qos=qos, stamp=stamp)


@pytest.mark.parametrize(
    ("speed", "seconds", "due"),
    [
        (1.0, [0, 1, 3], [0, 1, 3]),
        (10.0, [0, 1, 3], [0, 0.1, 0.3]),
        (0.5, [0, 1, 3], [0, 2, 6]),
        (None, [0, 1, 3], [0, 0, 0]),
        (10.0, [5, 5, 5, 6], [0, 0, 0, 0.1]),
        (1.0, [100, 50, 51, 200], [0, 0, 1, 150]),
        (1.0, [0, 86_400], [0, 86_400]),
        (1.0, [], []),
        (2.0, [7], [0]),
    ],
    ids=["original", "faster", "slower", "max", "ties", "clock set back", "a night", "nothing", "one"],
)
def test_due_times(speed: float | None, seconds: list[float], due: list[float]) -> None:
    timeline = Timeline(speed)
    assert [timeline.at_s(at(each)) for each in seconds] == pytest.approx(due)


@pytest.mark.parametrize(
    ("seconds", "arrived"),
    [
        ([1, 2, 4_000_000, 4_000_001, 6, 7], [1, 2, 6, 6, 6, 7]),
        ([1, 2, 4_000_000], [1, 2, 4_000_000]),
        ([1, 86_400, 86_401], [1, 86_400, 86_401]),
        ([100, 101, -4_000_000, -3_999_999, 104], [100, 101, -4_000_000, -3_999_999, 104]),
        ([1, 31, 30, 32], [1, 31, 30, 32]),
        ([4_000_000, 6], [4_000_000, 6]),
        ([], []),
    ],
    ids=["ahead for a while", "still ahead", "a night", "behind for a while", "small step", "begins ahead", "none"],
)
def test_times_of_a_clock_that_was_ahead(seconds: list[float], arrived: list[float]) -> None:
    assert list(arrivals([at(each) for each in seconds])) == [at(each) for each in arrived]


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_speed_is_positive_and_finite(speed: float) -> None:
    with pytest.raises(ValueError, match="a speed is a positive number"):
        Timeline(speed)


@given(st.lists(st.integers(-(10**12), 10**12)), st.floats(0.01, 1000))
def test_due_times_never_decrease(microseconds: list[int], speed: float) -> None:
    timeline = Timeline(speed)
    due = [timeline.at_s(START_AT + timedelta(microseconds=each)) for each in microseconds]
    assert due == sorted(due)
    assert due[:1] in ([], [0.0])


@given(st.lists(st.integers(0, 10**9)), st.floats(0.01, 1000))
def test_spacing_is_the_original_divided_by_the_speed(pauses_us: list[int], speed: float) -> None:
    timeline, now_at = Timeline(speed), START_AT
    due = [timeline.at_s(now_at)]
    for pause in pauses_us:
        now_at += timedelta(microseconds=pause)
        due.append(timeline.at_s(now_at))
    spacing = [later - earlier for earlier, later in pairwise(due)]
    assert spacing == pytest.approx([pause / 1e6 / speed for pause in pauses_us], abs=1e-6, rel=1e-6)


def test_replayed_message_is_the_original_with_marks() -> None:
    due = Replay("r1", "replay/", 10).next(recorded(payload=b"\xff", qos=2))
    assert (due.at_s, due.qos) == (0.0, 2)
    publication = due.publication
    assert (publication.topic, publication.payload, publication.retain) == (f"replay/{TOPIC}", b"\xff", False)
    assert publication.properties == (
        ("source", "replay"),
        ("boot", "r1"),
        ("seq", "1"),
        ("plant-time", "2026-01-31T07:00:00.000000Z"),
        ("replayed", "2026-01-31T08:00:00.000000Z"),
        ("replayed-source", "sim-rooms"),
        ("replayed-boot", "b1"),
        ("replayed-seq", "7"),
    )


def test_message_without_a_stamp_gets_no_original_stamp() -> None:
    plain = Recorded(received_at=START_AT, topic="a", payload=b"")
    assert marks(plain) == (("replayed", "2026-01-31T08:00:00.000000Z"),)


def test_replayed_messages_are_numbered() -> None:
    replay = Replay("r1")
    stamps = [read_stamp(replay.next(recorded(each)).publication.properties) for each in range(3)]
    assert [(each.source, each.boot, each.seq) for each in stamps] == [
        ("replay", "r1", 1),
        ("replay", "r1", 2),
        ("replay", "r1", 3),
    ]


def test_unpublishable_message_gets_no_number() -> None:
    replay = Replay("r1")
    for wrong in ("a\nb", "a" * 65_535):
        with pytest.raises(InvalidTopic):
            replay.next(recorded(topic=wrong))
    assert ("seq", "1") in replay.next(recorded()).publication.properties


@pytest.mark.parametrize("prefix", ["", "replay/", "replay/monday/", "/slash/"])
def test_prefixes(prefix: str) -> None:
    assert valid_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["replay", "$SYS/", "a/+/", "#/", "a\n/", "x" * 65_536 + "/"])
def test_invalid_prefixes(prefix: str) -> None:
    with pytest.raises(InvalidTopic):
        valid_prefix(prefix)


@given(st.lists(st.text("ab/", min_size=1), unique=True))
def test_prefix_keeps_topics_distinct(topics: list[str]) -> None:
    replay = Replay("r1", "replay/", None)
    replayed = [replay.next(recorded(topic=each)).publication.topic for each in topics]
    assert all(each.startswith("replay/") for each in replayed)
    assert [each.removeprefix("replay/") for each in replayed] == topics
