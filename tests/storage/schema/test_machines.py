"""The typed tables of machines."""

from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from broker.contract.machines import questions as machines_sql
from broker.contract.machines.topics import MachineAverage, MachineReading
from broker.contract.sql import Statement
from broker.message import Message
from controllers.moving_average.component import MovingAverage
from storage.database.batch import arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import TYPED_STREAMS, StreamCodes
from tests.storage.conftest import Deliver, Past, ask

DAY = date(2026, 1, 31)
READING: dict[str, Any] = {
    "id": 1,
    "name": "DELL G450",
    "description": "Machine for processing ",
    "temperature": 30.21,
    "fan_speed": 811.62,
    "status": "COMPLETED",
    "timestamp": "2024-11-03T13:40:45.015069+00:00",
}
COLUMNS = "machine, id, name, description, temperature, fan_speed, status, timestamp"
TAKEN_AT = datetime(2024, 11, 3, 13, 40, 45, 15069, tzinfo=UTC)
ROW = ("1", 1, "DELL G450", "Machine for processing ", 30.21, 811.62, "COMPLETED", TAKEN_AT)


def reading(machine: str = "1", /, **changed: Any) -> tuple[str, bytes]:
    return f"machines/{machine}/reading", orjson.dumps({**READING, **changed})


def rejected(database: Database) -> int:
    return int(ask(database, "SELECT count(*) FROM rejected_message")[0][0])


def test_reading_has_the_columns_of_its_payload(database: Database, past: Past) -> None:
    plant = b"\x26\x00\x0aplant-time\x00\x142026-01-31T08:00:00Z"
    past.record(DAY, [reading()], properties=plant)
    assert ask(database, f"SELECT {COLUMNS} FROM machine_reading") == [ROW]
    assert ask(database, "SELECT event_at, number FROM machine_reading") == [(datetime(2026, 1, 31, 8, tzinfo=UTC), 1)]
    assert rejected(database) == 0


@pytest.mark.parametrize("field", ["temperature", "fan_speed"])
@pytest.mark.parametrize("value", ["30.21", True, None, [1], {"a": 1}])
def test_value_that_is_not_a_number_is_null_and_listed(database: Database, past: Past, field: str, value: object) -> None:
    past.record(DAY, [reading(**{field: value})])
    assert ask(database, f"SELECT {field}, status FROM machine_reading") == [(None, "COMPLETED")]
    assert rejected(database) == 1


def test_missing_measurement_is_listed(database: Database, past: Past) -> None:
    past.record(DAY, [("machines/1/reading", b'{"id":1,"temperature":20}')])
    assert ask(database, "SELECT temperature, fan_speed FROM machine_reading") == [(20.0, None)]
    assert rejected(database) == 1


@pytest.mark.parametrize("field", ["name", "description", "status", "timestamp"])
@pytest.mark.parametrize("value", [None, 7, ""])
def test_missing_optional_field_is_null_and_not_listed(database: Database, past: Past, field: str, value: object) -> None:
    past.record(DAY, [reading(**{field: value})])
    assert ask(database, f"SELECT {field} FROM machine_reading") == [(None,)]
    assert rejected(database) == 0


@pytest.mark.parametrize(
    ("text", "taken_at"),
    [
        ("2024-11-03T13:40:45Z", datetime(2024, 11, 3, 13, 40, 45, tzinfo=UTC)),
        ("2024-11-03T14:40:45+01:00", datetime(2024, 11, 3, 13, 40, 45, tzinfo=UTC)),
        ("2024-11-03T13:40:45", None),
        ("yesterday", None),
        ("infinity", None),
        ("2024-13-03T13:40:45Z", None),
    ],
)
def test_instant_needs_its_offset(database: Database, past: Past, text: str, taken_at: datetime | None) -> None:
    past.record(DAY, [reading(timestamp=text)])
    assert ask(database, "SELECT timestamp FROM machine_reading") == [(taken_at,)]


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"\xff", b"[]", b"7", b"null"])
def test_payload_that_is_not_an_object_has_no_row(database: Database, past: Past, payload: bytes) -> None:
    past.record(DAY, [("machines/1/reading", payload), ("machines/1/average", payload), reading()])
    assert ask(database, "SELECT number FROM machine_reading") == [(3,)]
    assert ask(database, "SELECT count(*) FROM machine_average") == [(0,)]
    assert rejected(database) == 2


def test_average_as_the_controller_publishes_it(database: Database, past: Past) -> None:
    controller = MovingAverage()
    messages = []
    for temperature in (20.0, "warm", 20.36):
        topic, payload = reading("7", id=7, temperature=temperature)
        (published,) = controller.on_message(Message(topic=topic, payload=payload), 0.0)
        messages.append((published.topic, published.payload))
    nothing = (
        "machines/8/average",
        b'{"average_temperature":null,"average_speed":null,"status":null,"left_out":{"temperature":1}}',
    )
    past.record(DAY, [*messages, nothing])
    found = ask(database, "SELECT machine, average_temperature, average_speed, status FROM machine_average ORDER BY number")
    assert found[0] == ("7", 20.0, 811.62, "COMPLETED")
    assert found[-1] == ("8", None, None, None)
    assert rejected(database) == 0


@pytest.mark.parametrize(("table", "payload"), [("machine_reading", MachineReading), ("machine_average", MachineAverage)])
def test_all_fields_of_the_payload_are_known(table: str, payload: Any) -> None:
    """A field that is not known would be reported as drift with its first message."""
    typed = next(each for each in TYPED_STREAMS if each.table == table)
    assert set(payload.__struct_fields__) == set(typed.keys)


def test_only_a_field_outside_the_contract_is_drift(database: Database, deliver: Deliver) -> None:
    average = b'{"average_temperature":null,"average_speed":1,"status":null,"left_out":{"temperature":5}}'
    extra = b'{"average_temperature":1,"average_speed":1,"status":"IDLE","average_pressure":3}'
    for payloads, reported in (([average, b"garbage"], []), ([extra], ["average_pressure"])):
        batch = [deliver(*reading()), *(deliver("machines/1/average", payload) for payload in payloads)]
        stored = database.commit(arrow_table(batch, 1, StreamCodes()))
        assert [drift.field for drift in stored.drifts] == reported


def test_warm_start_finds_the_last_readings(database: Database, past: Past) -> None:
    controller = MovingAverage()
    online = b'{"state":"online","boot":"b","version":"1"}'
    (question,) = controller.on_message(Message(topic="components/recorder/state", payload=online), 0.0)
    today = datetime.now(UTC).date()
    readings = [reading(str(n % 2), id=n % 2, temperature=n, timestamp=f"2024-11-03T13:40:{n:02}Z") for n in range(14)]
    others = [("machines/1/reading", b"\xff"), ("machines/a/b/reading", b"{}"), ("machines/1/average", b"{}")]
    past.record(date(2020, 1, 1), [reading("9", id=9)])
    past.record(today, [*readings, *others])
    found = ask(database, orjson.loads(question.payload)["sql"])
    rows = orjson.dumps([{"topic": topic, "payloads": payloads} for topic, payloads in found])
    assert {topic for topic, _ in found} == {"machines/0/reading", "machines/1/reading", "machines/a/b/reading"}
    answer = Message(
        topic=question.response_topic or "",
        payload=rows,
        correlation_data=question.correlation_data,
        properties=(("part", "1"),),
    )
    assert controller.on_message(answer, 0.0) == []
    topic, payload = reading(temperature=15, timestamp="2024-11-03T13:41:00Z")
    (published,) = [*controller.on_message(Message(topic=topic, payload=payload), 3.0), *controller.on_tick(3.0)]
    assert orjson.loads(published.payload)["average_temperature"] == (7 + 9 + 11 + 13 + 15) / 5


def test_statements_of_the_command_line(database: Database, past: Past) -> None:
    garbage = [("machines/1/reading", payload) for payload in (b"", b"x", b"\xff", b"[]")]
    average = b'{"average_temperature":20.18,"average_speed":899.64,"status":"IDLE"}'
    past.record(DAY, [reading(), reading(temperature="30.21", timestamp=None), *garbage, ("machines/1/average", average)])
    since_at = datetime(2026, 1, 1, tzinfo=UTC)
    with database.cursor() as cursor:

        def rows(statement: Statement) -> list[tuple[Any, ...]]:
            return cursor.execute(statement.sql, statement.parameters).fetchall()

        series = rows(machines_sql.series("1", "temperature", since_at))
        assert [value for _, value in series] == [30.21, None, None]
        assert series[0][0] == READING["timestamp"]
        assert series[1][0].startswith("2026-01-31T00:00:10.")
        ((machine, _, latest, readings, _),) = rows(machines_sql.latest(since_at))
        assert (machine, latest, readings) == ("1", average.decode(), 2)
        assert [bool(rows(machines_sql.has_readings(machine))) for machine in ("1", "2")] == [True, False]


def test_the_removal_of_a_retained_message_is_not_listed(database: Database, past: Past) -> None:
    past.record(DAY, [("machines/1/average", b"")], retain=True)
    assert (rejected(database), ask(database, "SELECT count(*) FROM messages")) == (0, [(1,)])
    past.record(DAY, [("machines/1/average", b"")], hour=1)
    assert rejected(database) == 1
