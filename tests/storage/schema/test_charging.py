"""The typed tables of charging, and the views made of them."""

import time
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import orjson
import pytest

from broker.contract.charging.topics import (
    ChargingSession,
    EndedBy,
    Pairs,
    SocData,
    SocEvent,
    Status,
    StatusEvent,
    status_event,
)
from storage.database.batch import arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import TYPED_STREAMS, StreamCodes
from tests.storage.conftest import Deliver, Past, ask

DAY = date(2026, 1, 31)
STARTED_AT = datetime(2026, 1, 31, 8, tzinfo=UTC)
ENDED_AT = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
SESSION_COLUMNS = "session, charger, widget, started_at, ended_at, soc_start, soc_end, duration_s, ended_by"
RUNNING = ("s1", "c1", "w1", STARTED_AT, None, 12.5, None, None, None)
ENDED = ("s1", "c1", "w1", STARTED_AT, ENDED_AT, 12.5, 100.0, 1800.0, "charged")


def soc(value: str, charger: str = "c1") -> tuple[str, bytes]:
    return f"chargers/{charger}/soc", b'{"event":"StateOfCharge","data":{"soc":%s}}' % value.encode()


def status(value: str, widget: str = "w1") -> tuple[str, bytes]:
    return f"widgets/{widget}/status", b'{"event":"chargingStatus","data":{"status":%s}}' % value.encode()


def begun(session: str = "s1", charger: str = "c1", **changed: Any) -> tuple[str, bytes]:
    session_message = ChargingSession(session=session, widget="w1", started_at="2026-01-31T08:00:00Z", soc_start=12.5)
    return f"chargers/{charger}/session", orjson.dumps({**msgspec.to_builtins(session_message), **changed})


def over(session: str = "s1", charger: str = "c1", **changed: Any) -> tuple[str, bytes]:
    end = {"ended_at": "2026-01-31T08:30:00Z", "soc_end": 100, "duration_s": 1800.0, "ended_by": EndedBy.CHARGED.value}
    return begun(session, charger, **{**end, **changed})


def paired(pairs: dict[str, Any]) -> tuple[str, bytes]:
    return "charging/pairs", orjson.dumps({"pairs": pairs})


def rejected(database: Database) -> int:
    return int(ask(database, "SELECT count(*) FROM rejected_message")[0][0])


def test_state_of_charge_has_its_columns(database: Database, past: Past) -> None:
    plant = b"\x26\x00\x0aplant-time\x00\x142026-01-31T08:00:00Z"
    past.record(DAY, [soc("70", "c1234")], properties=plant)
    (row,) = ask(database, "SELECT charger, soc, event_at, number, received_at IS NOT NULL FROM charger_soc")
    assert row == ("c1234", 70.0, STARTED_AT, 1, True)
    assert rejected(database) == 0


@pytest.mark.parametrize("value", ["0", "-0.0", "0.5", "79.999", "80", "100", "100.0", "1e1"])
def test_state_of_charge_is_a_number_from_0_to_100(database: Database, past: Past, value: str) -> None:
    past.record(DAY, [soc(value)])
    assert ask(database, "SELECT soc FROM charger_soc") == [(float(value),)]
    assert rejected(database) == 0


@pytest.mark.parametrize(
    "value",
    ["-0.001", "100.001", "true", "false", '"70"', "null", "[70]", '{"soc":70}'],
)
def test_invalid_state_of_charge_is_null_and_listed(database: Database, past: Past, value: str) -> None:
    past.record(DAY, [soc(value), soc("70")])
    assert ask(database, "SELECT soc FROM charger_soc ORDER BY number") == [(None,), (70.0,)]
    (reason,) = ask(database, "SELECT reason FROM rejected_message")
    assert reason == ('wrong shape: needs data.soc (a number from 0 to 100), event ("StateOfCharge")',)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "70,", '70,"soc":30'])
def test_payload_that_components_refuse_has_no_row(database: Database, past: Past, value: str) -> None:
    past.record(DAY, [soc(value), soc("70")])
    assert ask(database, "SELECT soc FROM charger_soc") == [(70.0,)]
    assert rejected(database) == 1


@pytest.mark.parametrize(
    "payload",
    [
        b'{"event":"StateOfCharge"}',
        b'{"event":"StateOfCharge","data":null}',
        b'{"event":"StateOfCharge","data":70}',
        b'{"event":"StateOfCharge","data":[{"soc":70}]}',
        b'{"event":"StateOfCharge","data":"{\\"soc\\":70}"}',
        b'{"event":"StateOfCharge","data":{"data":{"soc":70}}}',
        b'{"event":"StateOfCharge","soc":70}',
    ],
)
def test_state_of_charge_is_read_inside_data(database: Database, past: Past, payload: bytes) -> None:
    past.record(DAY, [("chargers/c1/soc", payload)])
    assert ask(database, "SELECT charger, soc FROM charger_soc") == [("c1", None)]
    assert rejected(database) == 1


@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", b"\xff", b"[]", b"70", b"null", b'{"data":{"soc":70}}', b'{"event":"stateOfCharge","data":{"soc":70}}'],
)
def test_other_events_have_no_row(database: Database, past: Past, payload: bytes) -> None:
    topics = ("chargers/c1/soc", "widgets/w1/status", "chargers/c1/session", "charging/pairs")
    past.record(DAY, [(topic, payload) for topic in topics])
    for table in ("charger_soc", "widget_status", "charging_told", "charging_pairs", "charging_session", "charger_pair"):
        assert ask(database, f"SELECT count(*) FROM {table}") == [(0,)]
    assert rejected(database) == len(topics)


@pytest.mark.parametrize("text", [each.value for each in Status])
def test_status_has_its_columns(database: Database, past: Past, text: str) -> None:
    past.record(DAY, [status(f'"{text}"', "wABCD")])
    assert ask(database, "SELECT widget, status FROM widget_status") == [("wABCD", text)]
    assert rejected(database) == 0


@pytest.mark.parametrize("value", ["null", "7", "true", '""', "[]"])
def test_status_that_is_not_text_is_null_and_listed(database: Database, past: Past, value: str) -> None:
    past.record(DAY, [status(value)])
    assert ask(database, "SELECT widget, status FROM widget_status") == [("w1", None)]
    assert rejected(database) == 1


def test_the_frames_of_the_contract_are_typed(database: Database, past: Past) -> None:
    messages = [
        ("chargers/c1/soc", msgspec.json.encode(SocEvent(event="StateOfCharge", data=SocData(soc=70)))),
        ("widgets/w1/status", msgspec.json.encode(status_event(Status.CHARGING_80))),
        ("charging/pairs", msgspec.json.encode(Pairs(pairs={"c1": "w1"}))),
    ]
    past.record(DAY, messages)
    assert ask(database, "SELECT charger, soc FROM charger_soc") == [("c1", 70.0)]
    assert ask(database, "SELECT widget, status FROM widget_status") == [("w1", "charging80")]
    assert ask(database, "SELECT charger, widget FROM charger_pair") == [("c1", "w1")]
    assert rejected(database) == 0


@pytest.mark.parametrize(
    ("table", "payload"),
    [("charger_soc", SocEvent), ("widget_status", StatusEvent), ("charging_told", ChargingSession), ("charging_pairs", Pairs)],
)
def test_all_fields_of_the_payload_are_known(table: str, payload: Any) -> None:
    """A field that is not known would be reported as drift with its first message."""
    typed = next(each for each in TYPED_STREAMS if each.table == table)
    assert set(payload.__struct_fields__) == set(typed.keys)


def test_only_a_field_outside_the_contract_is_drift(database: Database, deliver: Deliver) -> None:
    extra = ("chargers/c1/session", b'{"session":"s","price":3}')
    allowed = [soc("70"), status('"charged"'), begun(), over(), paired({}), paired({"c1": "w1"}), soc("null")]
    for messages, reported in ((allowed, []), ([extra], ["price"])):
        batch = [deliver(*each) for each in messages]
        stored = database.commit(arrow_table(batch, 1, StreamCodes()))
        assert [drift.field for drift in stored.drifts] == reported


def test_session_has_the_state_published_last(database: Database, past: Past) -> None:
    past.record(DAY, [begun()])
    assert ask(database, f"SELECT {SESSION_COLUMNS} FROM charging_session") == [RUNNING]
    past.record(DAY, [over()], hour=1)
    assert ask(database, "SELECT * EXCLUDE (revised_at) FROM charging_session") == [(*ENDED, None, None)]
    revised = "revised_at = (SELECT max(received_at) FROM charging_told)"
    assert ask(database, f"SELECT {revised} FROM charging_session") == [(True,)]
    assert ask(database, "SELECT count(*) FROM charging_told") == [(2,)]
    assert rejected(database) == 0


def test_session_that_is_published_twice_is_one(database: Database, past: Past) -> None:
    past.record(DAY, [begun(), begun(), over(), over()])
    assert ask(database, f"SELECT {SESSION_COLUMNS} FROM charging_session") == [ENDED]


def test_first_end_of_a_session_counts(database: Database, past: Past) -> None:
    past.record(DAY, [begun(), over()], hour=9)
    past.record(DAY, [begun(), over(ended_by="replaced", soc_end=65)], hour=8)  # the clock was put back: numbers go on
    assert ask(database, "SELECT ended_by, soc_end FROM charging_session") == [("charged", 100)]


def test_session_without_an_end_ends_where_the_next_begins(database: Database, past: Past) -> None:
    past.record(DAY, [begun("s1"), begun("s2", started_at="2026-01-31T09:00:00Z")])
    rows = ask(database, "SELECT session, ended_at, soc_end, ended_by FROM charging_session ORDER BY session")
    assert rows == [("s1", datetime(2026, 1, 31, 9, tzinfo=UTC), None, "lost"), ("s2", None, None, None)]


def test_sessions_of_several_chargers_stay_apart(database: Database, past: Past) -> None:
    past.record(DAY, [begun("s1"), begun("s2", "c2"), over("s1"), begun("s3"), begun("s1", "c3")])
    rows = ask(database, "SELECT session, charger, ended_by FROM charging_session ORDER BY ALL")
    assert rows == [("s1", "c1", "charged"), ("s1", "c3", None), ("s2", "c2", None), ("s3", "c1", None)]


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("started_at", "2026-01-31T08:00:00", None),
        ("started_at", None, None),
    ],
)
def test_session_without_a_required_field_is_listed(
    database: Database, past: Past, field: str, value: object, stored: object
) -> None:
    past.record(DAY, [begun("s1", "c1", **{field: value})])
    assert ask(database, f"SELECT session, {field} FROM charging_session") == [("s1", stored)]
    assert rejected(database) == 1


def test_session_without_an_identifier_has_no_row(database: Database, past: Past) -> None:
    past.record(DAY, [begun(session=name) for name in ("", None, 7)])  # type: ignore[arg-type]
    assert ask(database, "SELECT * FROM charging_session") == []
    assert rejected(database) == 3


def test_latest_pairs_are_current(database: Database, past: Past) -> None:
    assert ask(database, "SELECT * FROM charger_pair") == []
    past.record(DAY, [paired({"c1": "w1", "c2": "w2"})])
    past.record(DAY, [paired({"c2": "w9", "größe": 'w"\\'}), ("charging/pairs", b'{"pairs":[]}')], hour=1)
    assert ask(database, "SELECT charger, widget FROM charger_pair ORDER BY ALL") == [("c2", "w9"), ("größe", 'w"\\')]
    assert ask(database, "SELECT number, json_type(pairs) FROM charging_pairs ORDER BY ALL") == [(1, "OBJECT"), (2, "OBJECT")]
    assert rejected(database) == 1
    past.record(DAY, [paired({})], hour=2)
    assert ask(database, "SELECT * FROM charger_pair") == []


def test_invalid_values_in_pairs_break_no_query(database: Database, past: Past) -> None:
    past.record(DAY, [("charging/pairs", b'{"pairs":{"c1":"w1","c1":"w2"}}')])
    assert {charger for charger, _ in ask(database, "SELECT * FROM charger_pair")} <= {"c1"}  # DuckDB 1 keeps both


def test_100_000_pairs_are_quick(database: Database, past: Past) -> None:
    pairs = {f"c{number}": f"w{number}" for number in range(100_000)}
    past.record(DAY, [paired({**pairs, "c0": f"w-{reload}"}) for reload in range(5)])
    started_s = time.monotonic()
    assert ask(database, "SELECT count(*), count(DISTINCT widget) FROM charger_pair") == [(100_000, 100_000)]
    assert ask(database, "SELECT widget FROM charger_pair WHERE charger IN ('c0', 'c77777') ORDER BY ALL") == [
        ("w-4",),
        ("w77777",),
    ]
    assert time.monotonic() - started_s < 5


def transacted(session: str, connector: int, hour: int, **more: Any) -> tuple[str, bytes]:
    """Return the session of an OCPP charger without a widget and a state of charge."""
    known = {"widget": None, "soc_start": None, "connector": connector, "started_at": f"2026-01-31T{hour:02}:00:00Z"}
    return begun(session, "box", **known, **more)


def test_transactions_have_energy_and_need_no_state_of_charge(database: Database, past: Past) -> None:
    past.record(DAY, [transacted("box#1", 1, 8)])
    assert ask(database, "SELECT widget, soc_start, connector, kwh FROM charging_session") == [(None, None, 1, None)]
    end = {"ended_at": "2026-01-31T09:00:00Z", "soc_end": None, "duration_s": 3600.0, "ended_by": EndedBy.STOPPED.value}
    past.record(DAY, [transacted("box#1", 1, 8, kwh=7.25, **end)], hour=1)
    assert ask(database, "SELECT ended_by, kwh, soc_end FROM charging_session") == [("stopped", 7.25, None)]
    assert rejected(database) == 0


def test_a_transaction_is_lost_where_its_connector_has_the_next(database: Database, past: Past) -> None:
    past.record(DAY, [transacted("box#1", 1, 8), transacted("box#2", 2, 9), transacted("box#3", 1, 10)])
    rows = ask(database, "SELECT session, ended_by FROM charging_session ORDER BY session")
    assert rows == [("box#1", "lost"), ("box#2", None), ("box#3", None)]
