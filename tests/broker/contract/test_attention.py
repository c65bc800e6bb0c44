"""What needs attention: each thing once, with the last of what happened, and gaps in the numbers of components."""

from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from broker.contract import attention

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC).timestamp()


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    created = duckdb.connect()
    created.execute(
        """CREATE TABLE messages (number BIGINT, received_at TIMESTAMPTZ, topic VARCHAR, payload VARCHAR,
                                  source VARCHAR, boot VARCHAR, seq BIGINT);
           CREATE TABLE energy_anomaly (number BIGINT, received_at TIMESTAMPTZ, ship VARCHAR, kind VARCHAR, text VARCHAR);
           CREATE TABLE fastening_event (number BIGINT, received_at TIMESTAMPTZ, driver VARCHAR, event VARCHAR, serial VARCHAR,
                                         step INTEGER, torque_nm DOUBLE);
           CREATE TABLE machine_reading (number BIGINT, received_at TIMESTAMPTZ, machine VARCHAR, status VARCHAR);
           CREATE TABLE charging_session (session VARCHAR, charger VARCHAR, ended_by VARCHAR, revised_at TIMESTAMPTZ);
           CREATE TABLE rejected_message (number BIGINT, received_at TIMESTAMPTZ, component VARCHAR, topic VARCHAR,
                                         reason VARCHAR)
        """
    )
    return created


def at(ago_s: float) -> datetime:
    return datetime.fromtimestamp(NOW - ago_s, UTC)


def test_each_thing_is_listed_once_with_its_last_text(database: duckdb.DuckDBPyConnection) -> None:
    rejected = '{"topic":"t","reason":"r","payload":"","count":7}'
    tables: dict[str, list[tuple[Any, ...]]] = {
        "energy_anomaly": [(1, at(90_000), "2", "flat", "old"), (2, at(300), "1", "flat", "a"), (3, at(200), "1", "flat", "b")],
        "fastening_event": [(4, at(50), "d", "out of range", "S", 3, 1.5), (5, at(40), "d", "in range", "S", 4, 2.0)],
        "machine_reading": [(6, at(30), "1", "ERROR"), (7, at(20), "1", "IDLE"), (8, at(10), "2", "ERROR")],
        "charging_session": [
            ("x", "c", "offline", at(100)),
            ("history-y", "c", "offline", at(100)),
            ("z", "c", "charged", at(1)),
        ],
        "messages": [(9, at(5), "rejected/heating", rejected, None, None, None)],
        "rejected_message": [(10, at(4), "recorder", "t", "too long")],
    }
    for table, rows in tables.items():
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    found = database.execute(attention.notices(NOW).sql).fetchall()
    assert [(system, name, count, NOW - at_s, text) for system, name, count, at_s, text in found] == [
        ("rejected", "recorder", 1, 4, "t: too long"),
        ("rejected", "heating", 7, 5, "t: r"),
        ("machines", "2", 1, 10, "status ERROR"),
        ("fastening", "d", 1, 50, "out of range, S, step 3, 1.5 N·m"),
        ("charging", "c", 1, 100, "disconnected while charging"),
        ("energy", "1", 2, 200, "b"),
    ]


def test_a_missing_number_is_a_gap(database: duckdb.DuckDBPyConnection) -> None:
    numbers = [("heating", seq, "heating/room-1/state") for seq in (3, 4, 6, 6, 9)]
    numbers += [("forged", seq, "/readings/room-1/temperature") for seq in (1, 9)]  # anyone may publish there
    rows = [(n, at(60 - n), topic, "", source, "b1", seq) for n, (source, seq, topic) in enumerate(numbers)]
    rows += [(90, at(5), "heating/room-1/state", "", "heating", "b1", 20)]  # what is before it may still come
    database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    found = database.execute(attention.gaps(NOW).sql).fetchall()
    assert [row[:3] for row in found] == [("heating", "b1", 3)]
    places = database.execute(attention.gap_places("heating", "b1")).fetchall()
    assert [row[2:4] for row in places] == [(5, 5), (7, 8), (10, 19)]
