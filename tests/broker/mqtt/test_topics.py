import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import InvalidTopic
from broker.mqtt.topics import TopicTemplate, covers, matches, validate_filter, validate_topic

LEVEL = st.text(st.characters(exclude_characters="/+#", exclude_categories=["Cs", "Cc"]), max_size=8)


@pytest.mark.parametrize("topic", ["a", "/", "/readings/room-1/temperature", " ", "ä/€", "a" * 65_535])
def test_valid_topics_are_returned(topic: str) -> None:
    assert validate_topic(topic) == topic


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#", "a\0b", "a\nb", "\x7f", "a" * 65_536, "é" * 32_768])
def test_invalid_topics_are_refused(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        validate_topic(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "+/+", "a/#", "/+/#", "a/+/b"])
def test_valid_filters_are_returned(topic_filter: str) -> None:
    assert validate_filter(topic_filter) == topic_filter


@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0"])
def test_invalid_filters_are_refused(topic_filter: str) -> None:
    with pytest.raises(InvalidTopic):
        validate_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        # MQTT 5.0 section 4.7.1, its own examples
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player10", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker", False),
        ("+/broker", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker", True),
        ("a.c", "abc", False),
        ("#", "line\nfeed", True),
    ],
)
def test_filters_match_by_the_standard(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@given(st.lists(LEVEL, min_size=1, max_size=5))
def test_every_topic_matches_itself_and_the_wildcard(levels: list[str]) -> None:
    topic = "/".join(levels)
    if topic:
        assert matches(topic, topic)
        assert matches("#", topic) is not topic.startswith("$")


READING = TopicTemplate("/readings/{room}/temperature")


def test_a_template_builds_parses_and_filters() -> None:
    assert READING.topic(room="room-1") == "/readings/room-1/temperature"
    assert READING.parse("/readings/room-1/temperature") == {"room": "room-1"}
    assert READING.filter == "/readings/+/temperature"


@pytest.mark.parametrize("topic", ["/readings//temperature", "/readings/a/b/temperature", "readings/a/temperature", ""])
def test_a_template_does_not_parse_other_topics(topic: str) -> None:
    assert READING.parse(topic) is None


@pytest.mark.parametrize("room", ["", "a/b", "+", "#", "a\0"])
def test_a_template_refuses_invalid_levels(room: str) -> None:
    with pytest.raises(InvalidTopic):
        READING.topic(room=room)


def test_a_template_needs_exactly_its_levels() -> None:
    with pytest.raises(InvalidTopic):
        READING.topic()
    with pytest.raises(InvalidTopic):
        READING.topic(room="a", house="b")


@given(LEVEL.filter(bool))
def test_a_template_parses_topics_it_built(room: str) -> None:
    assert READING.parse(READING.topic(room=room)) == {"room": room}


def test_a_deep_template_has_a_last_name_of_several_levels() -> None:
    template = TopicTemplate("storage/answer/{client}", deep=True)
    assert template.filter == "storage/answer/#"
    for client in ("cli", "alice/cli-1", "a/b/c"):
        assert template.topic(client=client) == f"storage/answer/{client}"
        assert template.parse(f"storage/answer/{client}") == {"client": client}
    for topic in (
        "storage/answer",
        "storage/answer/",
        "storage/answer//a",
        "storage/answer/a/",
        "storage/answer/+",
        "x/answer/a",
    ):
        assert template.parse(topic) is None
    with pytest.raises(InvalidTopic):
        template.topic(client="a/#")


@pytest.mark.parametrize(
    ("wider", "narrower", "expected"),
    [
        ("#", "a/b", True),
        ("#", "#", True),
        ("#", "$SYS/#", False),
        ("+/a", "$SYS/a", False),
        ("a/#", "a", True),
        ("a/#", "a/+/#", True),
        ("a/+", "a/#", False),
        ("a/+", "a/+", True),
        ("a/+", "a/b", True),
        ("a/b", "a/+", False),
        ("a/+", "a", False),
        ("a", "a/b", False),
        ("/readings/#", "/readings/x/temperature", True),
        ("machines/+/reading", "machines/#", False),
    ],
)
def test_a_filter_covers_another(wider: str, narrower: str, expected: bool) -> None:
    assert covers(wider, narrower) is expected
