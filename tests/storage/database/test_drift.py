import pytest

from broker.contract.storage.topics import Drift
from storage.database.batch import arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes
from tests.storage.conftest import Deliver

READING = "/readings/room-1/temperature"


def drifts(database: Database, deliver: Deliver, *payloads: bytes) -> list[tuple[str, str, list[str], str]]:
    batch = [deliver(READING, payload) for payload in payloads]
    stored = database.commit(arrow_table(batch, 1, StreamCodes()))
    return [(drift.change, drift.field, drift.expected, drift.found) for drift in stored.drifts]


def reading(**fields: str) -> bytes:
    fields_json = {"sensorID": '"s"', "type": '"temperature"', "value": "20.5", **fields}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in fields_json.items()) + "}").encode()


def test_declared_payloads_are_no_drift(database: Database, deliver: Deliver) -> None:
    assert drifts(database, deliver, reading(), reading(value="-3"), b"not JSON", b"[1]", b"\xff", b"") == []


def test_new_field_is_reported_once(database: Database, deliver: Deliver) -> None:
    assert drifts(database, deliver, reading(), reading(battery="3.1")) == [("new field", "battery", [], "number")]
    assert drifts(database, deliver, reading(battery="3.1")) == []


@pytest.mark.parametrize(
    ("value", "found"), [('"20.5"', "string"), ("true", "boolean"), ("null", "null"), ('{"c":1}', "object"), ("[1]", "array")]
)
def test_changed_type_is_reported_once_and_column_is_null(database: Database, deliver: Deliver, value: str, found: str) -> None:
    assert drifts(database, deliver, reading(), reading(value=value)) == [("type changed", "value", ["number"], found)]
    assert drifts(database, deliver, reading(value=value)) == []
    with database.cursor() as cursor:
        assert cursor.execute("SELECT celsius FROM room_temperature ORDER BY number").fetchall() == [(20.5,), (None,), (None,)]
        assert cursor.execute("SELECT number FROM rejected_message ORDER BY number").fetchall() == [(2,), (3,)]


@pytest.mark.parametrize(
    ("field", "value", "expected", "found"),
    [
        ("name", "7", ["null", "string"], "number"),
        ("status", "[1]", ["null", "string"], "array"),
        ("timestamp", "1730641245", ["string"], "number"),
    ],
)
def test_changed_type_of_an_optional_field_is_reported(
    database: Database, deliver: Deliver, field: str, value: str, expected: list[str], found: str
) -> None:
    usual = b'{"id":1,"name":"a","temperature":20.5,"fan_speed":800,"status":null}'
    changed = b'{"id":1,"temperature":20,"fan_speed":800.5,"%s":%s}' % (field.encode(), value.encode())
    for reported in ([("type changed", field, expected, found)], []):
        batch = [deliver("machines/1/reading", payload) for payload in (usual, changed)]
        stored = database.commit(arrow_table(batch, 1, StreamCodes()))
        assert [(each.change, each.field, each.expected, each.found) for each in stored.drifts] == reported
        assert stored.rejected == 0


def test_fields_with_odd_names_are_reported(database: Database, deliver: Deliver) -> None:
    found = drifts(database, deliver, reading(**{"a/b~c": "1", "$.": "1", "'": "1", "": "1", "ä": "1"}))
    assert {field for _, field, _, _ in found} == {"a/b~c", "$.", "'", "", "ä"}


def test_number_of_reported_changes_is_limited(database: Database, deliver: Deliver) -> None:
    reported = 0
    for start in range(0, 3_000, 500):
        reported += len(drifts(database, deliver, *(reading(**{f"field-{start + n}": "1"}) for n in range(500))))
    assert 500 < reported <= 1_100


def test_drift_names_stream_and_topic(database: Database, deliver: Deliver) -> None:
    stored = database.commit(arrow_table([deliver(READING, reading(value='"x"'))], 1, StreamCodes()))
    (drift,) = stored.drifts
    assert isinstance(drift, Drift)
    assert (drift.stream, drift.topic) == ("/readings/{room}/temperature", READING)
