"""The views of energy, made of the quarters that the normalizer publishes."""

from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from storage.database.database import Database
from tests.storage.conftest import Past, ask

DAY = date(2026, 1, 31)


def interval(ship: int | str, *quarters: tuple[str, float | None], **more: Any) -> tuple[str, bytes]:
    data = [
        {"datetime": f"2018-08-24T{at}:00Z", "value": kwh, "quality": "measured", "coverage": 1.0, **more}
        for at, kwh in quarters
    ]
    return f"energy/{ship}/interval", orjson.dumps({"spaceship_id": ship, "data": data, "units": "kWh"})


@pytest.fixture
def past(database: Database) -> Past:
    return Past(database)


def at(minute: int) -> datetime:
    return datetime(2018, 8, 24, 0, minute, tzinfo=UTC)


def test_last_value_of_a_quarter_counts_and_history_keeps_all(database: Database, past: Past) -> None:
    past.record(DAY, [interval(1, ("00:00", 3.0), ("00:15", 3.0)), interval(1, ("00:15", 4.5)), interval("x", ("00:00", 9.0))])
    rows = ask(database, "SELECT spaceship_id, ship, start_at, kwh FROM energy_interval ORDER BY ship, start_at")
    assert rows == [(1, "1", at(0), 3.0), (1, "1", at(15), 4.5), (None, "x", at(0), 9.0)]
    assert ask(database, "SELECT kwh FROM energy_revision WHERE start_at = '2018-08-24T00:15:00Z' ORDER BY number") == [
        (3.0,),
        (4.5,),
    ]
    assert ask(database, "SELECT kwh FROM energy_interval WHERE spaceship_id = 1 AND start_at = '2018-08-24T00:15:00Z'") == [
        (4.5,)
    ]


def test_withdrawn_quarter_is_not_current(database: Database, past: Past) -> None:
    past.record(DAY, [interval(1, ("00:00", 3.0), ("00:15", 3.0)), interval(1, ("00:00", None))])
    assert ask(database, "SELECT start_at FROM energy_interval") == [(at(15),)]


def test_the_columns_of_the_contract(database: Database, past: Past) -> None:
    past.record(DAY, [interval(1, ("00:00", -3.0), negative=True)])
    columns = "spaceship_id, start_at, kwh, quality, coverage, negative, revised_at IS NOT NULL"
    assert ask(database, f"SELECT {columns} FROM energy_interval") == [(1, at(0), -3.0, "measured", 1.0, True, True)]
    assert ask(database, "SELECT count(*) FROM rejected_message") == [(0,)]


def test_invalid_quarter_is_listed(database: Database, past: Past) -> None:
    wrong = ("energy/1/interval", b'{"spaceship_id":1,"units":"kWh","data":5}')
    unreadable = ("energy/1/interval", b'{"spaceship_id":1,"units":"kWh","data":[{"datetime":"nonsense","value":1}]}')
    past.record(DAY, [wrong, unreadable, interval(2, ("00:00", 1.0))])
    assert ask(database, "SELECT spaceship_id FROM energy_interval") == [(2,)]
    assert ask(database, "SELECT count(*) FROM rejected_message") == [(1,)]


def test_anomalies_have_a_table(database: Database, past: Past) -> None:
    anomaly = {
        "spaceship_id": 1,
        "datetime": "2018-08-24T00:00:00Z",
        "kind": "outlier",
        "value": 9.5,
        "expected": 3,
        "text": "t",
    }
    missing = {**anomaly, "kind": "missing", "value": None, "expected": None}
    past.record(DAY, [("energy/1/anomaly", orjson.dumps(each)) for each in (anomaly, missing)])
    rows = ask(database, "SELECT ship, start_at, kind, kwh, expected_kwh, text FROM energy_anomaly ORDER BY number")
    assert rows == [("1", at(0), "outlier", 9.5, 3.0, "t"), ("1", at(0), "missing", None, None, "t")]
    assert ask(database, "SELECT count(*) FROM rejected_message") == [(0,)]
