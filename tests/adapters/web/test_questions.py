"""The line of a series: every lowest and highest value is in it, and no line crosses a hole."""

from collections.abc import Sequence
from typing import Any

import duckdb
import pytest

from adapters.web.questions import series
from broker.contract.storage import questions

START = 1_750_000_000.0


def recording(values: Sequence[tuple[float, str]]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE messages (number BIGINT, received_at TIMESTAMPTZ, topic VARCHAR, payload VARCHAR, retain BOOLEAN, "
        "event_at TIMESTAMPTZ, source VARCHAR, boot VARCHAR)"
    )
    database.executemany(
        "INSERT INTO messages VALUES (?, make_timestamptz(?), 'a/b', ?, ?, NULL, NULL, NULL)",
        [(number, round((START + at) * 1e6), payload, False) for number, (at, payload) in enumerate(values, 1)],
    )
    return database


def ask(database: duckdb.DuckDBPyConnection, field: str, until: float, points: int) -> dict[str, Any]:
    statement = questions.series("a/b", field, START, START + until, points)
    found = database.execute(statement.sql, statement.parameters)
    columns = [each[0] for each in found.description or ()]
    return series([dict(zip(columns, row, strict=True)) for row in found.fetchall()])


def test_few_values_are_all_there() -> None:
    found = ask(recording([(0, '{"v":1.5}'), (1, '{"v":3}'), (2, '{"v":2}')]), "v", 10, 1000)
    assert found["value"] == [1.5, 3, 2]
    assert [at - START for at in found["at"]] == [0, 1, 2]
    assert (found["count"], found["number"]) == (3, 3)


def test_lowest_and_highest_of_many_are_kept() -> None:
    values = [(second, str(second % 7)) for second in range(1000)]
    values[123], values[777] = (123, "-50"), (777, "99")
    found = ask(recording(values), "", 1000, 20)
    assert len(found["at"]) <= 4 * 20
    assert found["count"] == 1000
    lowest, highest = found["value"].index(-50), found["value"].index(99)
    assert (found["at"][lowest] - START, found["at"][highest] - START) == (123, 777)
    assert found["at"] == sorted(found["at"])


@pytest.mark.parametrize("points", [10, 100, 5000])
def test_no_line_crosses_a_hole(points: int) -> None:
    values = [(second, "1") for second in range(0, 1000, 2) if not 300 <= second < 500]
    found = ask(recording(values), "", 1000, points)
    holes = [at - START for at, value in zip(found["at"], found["value"], strict=True) if value is None]
    assert len(holes) == (1 if points > 10 else len(holes))
    if points > 10:
        assert 298 < holes[0] < 500


def test_short_pauses_of_slow_values_are_no_holes() -> None:
    found = ask(recording([(60 * minute, "1") for minute in range(100)]), "", 6000, 1000)
    assert None not in found["value"]
    assert found["spacing"] == pytest.approx(60)


def test_what_is_no_number_is_left_out() -> None:
    payloads = ["not json", '{"v":"text"}', '{"v":null}', "{}", '{"v":1}', '{"v":true}', "[]", '{"v":1e999}']
    found = ask(recording([(at, payload) for at, payload in enumerate(payloads)]), "v", 10, 100)
    assert found["value"] == [1]


FIELDS = [("a.b", 1), ("list.1", 3), ("x y", 4), ("", None), (r"c\.d", 5), ('"q"', 6), ("7", 7), ("a/b~c", 8), (r"e\\f.1", 9)]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_field_is_a_path(field: str, value: float | None) -> None:
    payload = r'{"a":{"b":1},"list":[2,3],"x y":4,"c.d":5,"\"q\"":6,"7":7,"a/b~c":8,"e\\f":{"1":9}}'
    found = ask(recording([(0, payload)]), field, 10, 100)
    assert found["value"] == ([] if value is None else [value])


def test_late_and_replayed_values_are_marked() -> None:
    database = recording([(at, str(at)) for at in range(6)])
    for number, column, changed in (
        (2, "event_at", "received_at - INTERVAL 61 SECOND"),
        (3, "event_at", "received_at - INTERVAL 59 SECOND"),
        (4, "source", "'replay'"),
        (5, "boot", "'history-01a2'"),
        (6, "event_at", "received_at + INTERVAL 1 DAY"),
    ):
        database.execute(f"UPDATE messages SET {column} = {changed} WHERE number = {number}")
    statement = questions.marks("a/b", "", START, START + 10, 100, until_number=4)
    found = database.execute(statement.sql, statement.parameters).fetchall()
    assert found == [("late", START + 1, 1, 1), ("replayed", START + 3, 3, 1)]
    statement = questions.values("a/b", "", START, START + 10, 100)
    rows = database.execute(statement.sql, statement.parameters).fetchall()
    assert [row[3] for row in reversed(rows)] == [None, "late", None, "replayed", "history", None]
    assert rows[-2][4] == START + 1 - 61


def test_the_plant_time_of_a_machine_is_in_its_reading() -> None:
    database = recording([(0, '{"temperature":20,"timestamp":"2025-01-01T00:00:00Z"}')])
    database.execute("UPDATE messages SET topic = 'machines/1/reading'")
    statement = questions.values("machines/1/reading", "temperature", START, START + 10, 100)
    assert database.execute(statement.sql, statement.parameters).fetchall()[0][3] == "late"


@pytest.mark.parametrize("instant", [float("inf"), -1e308, 1e308, 1e18])
def test_instants_out_of_range_are_limited(instant: float) -> None:
    for statement in (questions.series("a", "", -instant, instant, 100), questions.as_of(["#"], instant)):
        assert "make_timestamptz(40000000000000000)" in statement.sql or "< make_timestamptz(0)" in statement.sql
