"""The clock was 40 days ahead for a moment: what is shown as the present is the newest message by number."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.contract.charging.topics import SESSION
from broker.contract.heating import questions as heating
from broker.contract.machines import questions as machines
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import Recording
from tests.adapters.client.fakes import START_AT

AHEAD_S = 40 * 86_400
LONG_AGO = "2026-01-01"


@pytest.fixture
def jumped(tmp_path: Path) -> Iterator[Recording]:
    """States before, during and after the jump, of which those after it are the present."""
    recording = Recording(tmp_path)
    for second, value in ((1, 18), (2, 19), (AHEAD_S, 30), (AHEAD_S + 1, 31), (4, 20), (5, 21)):
        state = {
            "temperature": value,
            "setpoint": 21.0,
            "level": value,
            "mode": "heating",
            "sensors_left_out": [],
            "alarms": [],
        }
        reading = {"id": 1, "temperature": value, "fan_speed": 800.0, "status": "COMPLETED", "name": "n", "description": "d"}
        average = {"average_temperature": value, "average_speed": 800.0, "status": "COMPLETED"}
        recording.record("heating/room-1/state", json.dumps(state), ("heating", "b1", second), at_s=second)
        recording.record("machines/1/reading", json.dumps(reading), at_s=second)
        recording.record("machines/1/average", json.dumps(average), at_s=second)
        recording.record("other", str(value), at_s=second)
    yield recording
    recording.database.close()


def rows(scaup: Scaup, recording: Recording, *arguments: str) -> list[dict[str, Any]]:
    done = scaup(*arguments, "-o", "jsonl", session=recording.online())
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_heating_report_shows_the_present(scaup: Scaup, jumped: Recording) -> None:
    (room,) = rows(scaup, jumped, "heating", "report", "--since", LONG_AGO)
    assert (room["temperature_c"], room["level_pct"], room["max_c"]) == (21.0, 21, 31.0)
    assert room["to_at"].startswith("2026-01-31T08:00:05")


def test_machines_list_shows_the_present(scaup: Scaup, jumped: Recording) -> None:
    (machine,) = rows(scaup, jumped, "machines", "list", "--since", LONG_AGO)
    assert (machine["temperature"], machine["average_temperature"], machine["readings"]) == (21, 21, 6)
    assert machine["received_at"].startswith("2026-01-31T08:00:05")


def test_tail_shows_the_newest_numbers(scaup: Scaup, jumped: Recording) -> None:
    assert [each["payload"] for each in rows(scaup, jumped, "tail", "other", "-n", "3")] == ["31", "20", "21"]


def test_last_shows_the_present(scaup: Scaup, jumped: Recording) -> None:
    assert [each["payload"] for each in rows(scaup, jumped, "last", "other")] == ["21"]


def test_topics_show_the_present(scaup: Scaup, jumped: Recording) -> None:
    (topic,) = rows(scaup, jumped, "topics", "other")
    assert (topic["payload"], topic["messages"]) == ("21", 6)
    assert topic["last_seen"].startswith("2026-01-31T08:00:05")


def test_topics_show_a_last_payload_that_is_no_text(scaup: Scaup, jumped: Recording) -> None:
    jumped.record("other", b"\xff\xfe", at_s=6)
    assert rows(scaup, jumped, "topics", "other")[0]["payload"] == "(2 bytes)"


def test_readings_of_a_machine_are_in_their_order(scaup: Scaup, jumped: Recording) -> None:
    statement = machines.series("1", "temperature", START_AT - timedelta(days=1))
    with jumped.database.cursor() as cursor:
        found = cursor.execute(statement.sql, statement.parameters).fetchall()
    assert [value for _, value in found] == [18, 19, 30, 31, 20, 21]


def test_chart_of_a_room_is_not_squeezed_by_the_jump(jumped: Recording) -> None:
    statement = heating.series("room-1", START_AT, points=5)
    with jumped.database.cursor() as cursor:
        found = cursor.execute(statement.sql, statement.parameters).fetchall()
    assert {row[-1]: row[1] for row in found} == {0: 18.0, 1: 19.0, 3: 27.0, 4: 21.0}


def test_session_of_a_charger_was_revised_last_by_number(jumped: Recording) -> None:
    session = {"session": "s1", "charger": "c1", "widget": "w1", "started_at": "2026-01-31T08:00:00Z", "soc_start": 10}
    for second in (AHEAD_S, 7):
        jumped.record(SESSION.template.topic(id="c1"), json.dumps(session), at_s=second)
    assert jumped.rows("SELECT revised_at FROM charging_session") == [(START_AT + timedelta(seconds=7),)]
