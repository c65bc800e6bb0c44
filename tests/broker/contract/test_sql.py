"""Filters in SQL select what a broker would."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.sql import topic_condition
from broker.mqtt.topics import matches

DATABASE = duckdb.connect()
LEVEL = st.sampled_from(["", "a", "b", "a.b", "A", "room-1", "$x", "é", "a b", "(", "a\nb", "%", "_"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.one_of(LEVEL, st.just("+")), max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def selects(topic_filter: str, topic: str) -> bool:
    condition = topic_condition(topic_filter)
    sql = f"SELECT {condition.sql} FROM (SELECT $given AS topic)"
    row = DATABASE.execute(sql, {**condition.parameters, "given": topic}).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("#", "a", True),
        ("#", "/a", True),
        ("#", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker", True),
        ("+/broker", "$SYS/broker", False),
        ("/#", "/a", True),
        ("/#", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("/readings/+/temperature", "/readings/room-1/temperature", True),
        ("/readings/+/temperature", "/readings/room-1/humidity", False),
        ("+/+/#", "a/b", True),
        ("a.c", "abc", False),
    ],
)
def test_boundaries(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected
    assert selects(topic_filter, topic) is expected


@settings(max_examples=300)
@given(FILTER, TOPIC)
def test_same_as_the_broker(topic_filter: str, topic: str) -> None:
    assert selects(topic_filter, topic) is matches(topic_filter, topic)
