"""Walks along causes, over a table of messages in DuckDB."""

from typing import Any, TypeVar

import duckdb
import pytest

from broker.contract.storage import causes
from broker.contract.storage.causes import Node, Walk, causes_of, effects_of, newest
from broker.stamp import TICK

T = TypeVar("T")

MESSAGES = [
    # number, topic, source, seq, cause
    (1, "zigbee/office", None, None, None),
    (2, "/readings/office/temperature", "devices", 1, ["zigbee/office"]),
    (3, "heating/office/setpoint", "anna", 1, None),
    (4, "/readings/lab/temperature", "sim-rooms", 1, None),
    (5, "zigbee/office", None, None, None),
    (6, "/actuators/office", "heating", 1, ["devices/b/1", "anna/b/1", TICK]),
    (7, "heating/office/state", "heating", 2, ["devices/b/1", "gone/b/9", TICK]),
    (8, "energy/1/interval", "energy", 1, ["storage/query"]),
    (9, "widgets/w/status", "charging", 1, ["heating/b/2"]),
]
INSERT = """
INSERT INTO messages
SELECT $1, TIMESTAMPTZ '2026-12-01 08:00:00Z' + INTERVAL ($1) SECOND, $2, '{}', NULL, $3, $4, $5, $6
"""
COMPONENTS = ["devices", "sim-rooms", "heating", "energy", "charging"]


@pytest.fixture
def recording() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE messages (number BIGINT, received_at TIMESTAMPTZ, topic VARCHAR, payload VARCHAR, payload_raw BLOB, "
        "source VARCHAR, boot VARCHAR, seq BIGINT, cause VARCHAR[])"
    )
    for number, topic, source, seq, cause in MESSAGES:
        values = [number, topic, source, source and "b", seq, cause]
        connection.execute(INSERT, values)
    connection.execute("CREATE TABLE component_state AS SELECT unnest(?) AS component", [COMPONENTS])
    return connection


def walked(connection: duckdb.DuckDBPyConnection, walk: Walk[T]) -> T:
    try:
        statement = next(walk)
        while True:
            result = connection.execute(statement.sql, statement.parameters)
            names = [column[0] for column in result.description]
            statement = walk.send([dict(zip(names, row, strict=True)) for row in result.fetchall()])
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]


def outline(node: Node) -> Any:
    """A node as number or kind, with what is below it."""
    name = node.number if node.number is not None else node.kind
    return (name, [outline(each) for each in node.children]) if node.children else name


def test_a_chain_ends_at_devices_people_and_ticks(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, causes_of(6))
    assert root is not None
    assert outline(root) == (6, [(2, [1]), 3, "tick"])
    reading, setpoint, _ = root.children
    assert (root.kind, reading.kind, reading.children[0].kind, setpoint.kind) == ("component", "component", "device", "person")


def test_a_simulator_is_a_device(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, causes_of(4))
    assert root is not None
    assert (root.kind, root.children) == ("device", [])


def test_a_message_of_no_stamp_is_the_last_one_before(recording: duckdb.DuckDBPyConnection) -> None:
    """Number 5 is on the same topic, but after the reading that it is to explain."""
    root = walked(recording, causes_of(2))
    assert root is not None
    assert outline(root) == (2, [1])


def test_what_is_recorded_no_longer_is_expired(recording: duckdb.DuckDBPyConnection) -> None:
    state, interval = walked(recording, causes_of(7)), walked(recording, causes_of(8))
    assert state is not None
    assert interval is not None
    assert [each.kind for each in state.children] == ["component", "expired", "tick"]
    assert interval.children[0].as_json() == {"kind": "expired", "at": "2026-12-01T08:00:08.000000Z", "cause": "storage/query"}


def test_depth_cuts_and_says_so(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, causes_of(9, depth=1))
    assert root is not None
    (state,) = root.children
    assert (outline(root), state.cut) == ((9, [7]), True)
    assert state.as_json()["cut"] is True


def test_causes_far_back_are_found(recording: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "RECENT", 1)
    root = walked(recording, causes_of(6))
    assert root is not None
    assert outline(root) == (6, [(2, [1]), 3, "tick"])


def test_effects_are_followed_to_the_end(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, effects_of(1))
    assert root is not None
    assert outline(root) == (1, [(2, [6, (7, [9])])])


def test_a_later_message_of_the_topic_ends_the_effects(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, effects_of(5))
    assert root is not None
    assert root.children == []


def test_effects_beyond_the_depth_are_cut(recording: duckdb.DuckDBPyConnection) -> None:
    root = walked(recording, effects_of(1, depth=1))
    assert root is not None
    assert (outline(root), root.children[0].cut) == ((1, [2]), True)


def test_no_such_message(recording: duckdb.DuckDBPyConnection) -> None:
    assert walked(recording, causes_of(99)) is None
    assert walked(recording, effects_of(99)) is None


def test_the_newest_message_of_a_topic(recording: duckdb.DuckDBPyConnection) -> None:
    at = recording.execute("SELECT received_at FROM messages WHERE number = 4").fetchall()[0][0]
    assert walked(recording, newest("zigbee/office", at)) == 1
    assert walked(recording, newest("no/such/topic", at)) is None
