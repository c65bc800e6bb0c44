"""Views with declared columns, and that they read a payload as the mapping of devices does."""

from datetime import UTC, date, datetime

import pytest

from adapters.devices.declarations import read_file
from adapters.devices.mapping import Document, read
from adapters.devices.tables import requests_of
from adapters.devices.values import Malformed
from broker.contract.storage.topics import ViewColumn
from storage.database.database import Database
from storage.errors import InvalidRequest
from storage.schema.declared_views import declared_view
from storage.schema.inferred_views import create
from tests.storage.conftest import Past, ask

DAY = date(2026, 11, 1)
NOW_AT = datetime(2030, 1, 1, tzinfo=UTC)
TEXT = """
[table.all-of_it]
from = "press/+/state"
time = "at"
value.plain = { of = "a.b", type = "double" }
value.scaled = { of = "a.b", type = "double", scale = 2, offset = 1, range = [0, 100] }
value.whole = { of = "list.1", type = "bigint" }
value.flag = { of = "on", type = "boolean", map = { yes = true, no = false } }
value.word = { of = ["x.y", "t"], type = "varchar", strip = "°C", default = "none" }
value.chosen = { of = "parts.t", type = "double", pick = { id = "b2" }, number = true }
value.since = { of = "since", type = "timestamp" }
"""
PAYLOADS = [
    b'{"a":{"b":21.5},"list":[1,2],"on":"yes","x.y":{"t":" 3 \xc2\xb0C "},"parts":[{"id":"b1","t":1},{"id":"b2","t":"2.5"}]}',
    b'{"a":{"b":1},"at":"2026-10-31T23:59:59.5Z","since":1700000000}',
    b'{"a":{"b":1},"at":1700000000000,"since":"2026-01-01T00:00:00+02:00"}',
    b'{"a":{"b":null}}',
    b'{"a":{"b":"x"}}',
    b'{"a":{"b":99}}',
    b'{"on":"perhaps"}',
    b'{"list":[1,2.5]}',
    b'{"list":[1,9007199254740993]}',
    b'{"on":true}',
    b'{"at":"yesterday","a":{"b":1}}',
    b'{"parts":[{"id":"b2","t":"many"}]}',
    b'{"parts":{"t":5}}',
    b"nonsense",
    b"21",
    b"[]",
]


def test_reads_as_the_mapping_does(database: Database, past: Past) -> None:
    past.record(DAY, [("press/1/state", each) for each in PAYLOADS])
    (declared,) = read_file("f.toml", TEXT)
    ((name, request),) = requests_of([declared]).items()
    assert request.filter is not None
    view = declared_view(name, request.filter, request.columns, request.time)
    database.transact(lambda connection: create(connection, view))
    expected = []
    for payload in PAYLOADS:
        try:
            reading = read(declared, Document.of(payload), NOW_AT)
        except Malformed:
            continue
        if reading is not None:
            expected.append([reading.values.get(column) for column in declared.values])
    rows = ask(database, 'SELECT * FROM "all-of_it" ORDER BY received_at')
    assert [list(row[3:]) for row in rows] == expected
    assert len(expected) > 5
    assert [column for column, *_ in ask(database, 'DESCRIBE "all-of_it"')][:3] == ["received_at", "event_at", "topic"]
    assert str(rows[1][1]).startswith("2026-10-31 23:59:59.5")
    assert rows[0][1] == rows[0][0]


def test_the_whole_payload_is_a_value(database: Database, past: Past) -> None:
    past.record(DAY, [("t", b"ON"), ("t", b"21"), ("t", b'"OFF"'), ("t", b"")])
    for kind, expected in (("varchar", ["ON", "OFF", ""]), ("double", [21.0])):
        view = declared_view("v", "t", [ViewColumn(name="value", type=kind)], None)  # type: ignore[arg-type]
        database.transact(lambda connection, view=view: create(connection, view))  # type: ignore[misc]
        assert [value for (value,) in ask(database, "SELECT value FROM v ORDER BY received_at")] == expected


@pytest.mark.parametrize(("name", "column"), [("a b", "c"), ("a", "topic"), ("a", 'c"'), ("", "c")])
def test_refuses_names_that_cannot_be(name: str, column: str) -> None:
    with pytest.raises(InvalidRequest):
        declared_view(name, "t", [ViewColumn(name=column, type="double")], None)
