"""The views of fastening, made of the events that a controller publishes."""

from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from storage.database.database import Database
from storage.query.sandbox import open_read_only
from tests.storage.conftest import Past, ask

TOPIC = "fastening/driver-1/event"
LIMITS = {"part_number": "10-1", "revision": "A", "target_nm": 10.0, "min_nm": 9.5, "max_nm": 10.5}
DAY = date(2026, 1, 31)
CURRENT = "SELECT serial, step, torque_nm FROM fastening ORDER BY serial, step"
HISTORY = "SELECT torque_nm, void FROM fastening_event WHERE torque_nm IS NOT NULL ORDER BY number"


def event(kind: str, serial: str = "RP-1", step: int = 1, job: str = "j", **facts: object) -> tuple[str, bytes]:
    return TOPIC, orjson.dumps({"event": kind, "job": job, "serial": serial, "step": step, **LIMITS, **facts})


def value(torque_nm: float, in_range: bool = True, **facts: Any) -> tuple[str, bytes]:
    return event("in range" if in_range else "out of range", torque_nm=torque_nm, in_range=in_range, **facts)


@pytest.fixture
def past(database: Database) -> Past:
    return Past(database)


def test_result_is_current_until_its_screw_is_loosened(database: Database, past: Past) -> None:
    past.record(DAY, [event("step sent"), value(10.1), value(14.091, in_range=False, step=2)])
    assert ask(database, CURRENT) == [("RP-1", 1, 10.1), ("RP-1", 2, 14.091)]
    assert ask(database, "SELECT in_range FROM fastening WHERE step = 2") == [(False,)]
    past.record(DAY, [event("reversed", step=2, void=True, asked=True), value(13.15, step=2)], hour=1)
    assert ask(database, CURRENT) == [("RP-1", 1, 10.1), ("RP-1", 2, 13.15)]
    assert ask(database, HISTORY) == [(10.1, False), (14.091, True), (13.15, False)]


def test_later_result_of_the_same_screw_replaces_it(database: Database, past: Past) -> None:
    past.record(DAY, [value(10.1), value(10.2, job="k"), value(9.9, serial="RP-2")])
    assert ask(database, CURRENT) == [("RP-1", 1, 10.2), ("RP-2", 1, 9.9)]


def test_restarted_controller_voids_values_of_its_own_job_only(database: Database, past: Past) -> None:
    past.record(DAY, [value(10.1), event("voided", job="k")])
    assert ask(database, CURRENT) == [("RP-1", 1, 10.1)]
    past.record(DAY, [event("voided")], hour=1)
    assert ask(database, CURRENT) == []


def test_the_columns_of_the_contract(database: Database, past: Past) -> None:
    plant = b"\x26\x00\x0aplant-time\x00\x142026-01-31T08:00:00Z"
    past.record(DAY, [value(10.1)], properties=plant)
    columns = "serial, step, torque_nm, target_nm, min_nm, max_nm, in_range, recorded_at, driver"
    row = ("RP-1", 1, 10.1, 10.0, 9.5, 10.5, True, datetime(2026, 1, 31, 8, tzinfo=UTC), "driver-1")
    assert ask(database, f"SELECT {columns} FROM fastening") == [row]


def test_the_file_alone_answers(database: Database, past: Past) -> None:
    past.record(DAY, [value(10.1), value(13.0, step=2)])
    past.record(date(2026, 2, 1), [event("reversed", step=2, void=True)])
    database.close()
    with open_read_only(database.path) as alone:
        assert alone.execute(CURRENT).fetchall() == [("RP-1", 1, 10.1)]


def test_invalid_event_is_kept_and_has_no_effect(database: Database, past: Past) -> None:
    past.record(DAY, [(TOPIC, b'{"event":"in range","torque_nm":5}'), (TOPIC, b"nonsense"), value(10.0)])
    assert ask(database, CURRENT) == [("RP-1", 1, 10.0)]
    assert ask(database, "SELECT count(*) FROM rejected_message") == [(2,)]


def test_all_fields_of_an_event_are_known(database: Database, past: Past) -> None:
    """A field that is not known would be reported as drift with its first message."""
    from broker.contract.fastening.topics import FasteningEvent
    from storage.schema.typed_streams import TYPED_STREAMS

    typed = next(each for each in TYPED_STREAMS if each.table == "fastening_log")
    assert set(FasteningEvent.__struct_fields__) == set(typed.keys)


def test_last_catalog_is_current(database: Database, past: Past) -> None:
    step = {"step": 1, "target_nm": 10.0, "min_nm": 9.5, "max_nm": 10.5}
    catalogs = [
        {"serials": [{"serial": "OLD", "part_id": 1}], "parts": []},
        {
            "serials": [{"serial": "RP-1", "part_id": 7}, {"serial": "RP-2", "part_id": 7}],
            "parts": [{"part_id": 7, "part_number": "10-00045", "revision": "B", "steps": [step, {**step, "step": 2}]}],
        },
    ]
    past.record(DAY, [("fastening/catalog", orjson.dumps(each)) for each in catalogs])
    assert ask(database, "SELECT * FROM serial_number ORDER BY serial") == [("RP-1", 7), ("RP-2", 7)]
    assert ask(database, "SELECT * FROM part") == [(7, "10-00045", "B")]
    assert ask(database, "SELECT * FROM step ORDER BY step") == [(7, 1, 10.0, 9.5, 10.5), (7, 2, 10.0, 9.5, 10.5)]
    sql = "SELECT count(*) FROM serial_number JOIN part USING (part_id) JOIN step USING (part_id)"
    assert ask(database, sql) == [(4,)]


def test_views_are_empty_without_a_catalog(database: Database) -> None:
    for name in ("serial_number", "part", "step", "fastening", "fastening_event"):
        assert ask(database, f"SELECT * FROM {name}") == []
