from contextlib import closing
from datetime import date
from pathlib import Path

import duckdb
import pytest

from broker.contract.sql import identifier, literal
from storage.database.database import Database
from storage.query.sandbox import open_read_only
from storage.retention.archive import Archive
from storage.schema.inferred_views import create, infer
from storage.schema.views import define_views, last_number, tables
from tests.storage.conftest import Past, a_day, ask, direct, silent

DAY = date(2026, 11, 1)


@pytest.mark.parametrize("text", ["", "plain", "it's", 'a "b"', "größe €", "a\nb", "\\", "%_*?"])
def test_texts_and_names_are_quoted(text: str) -> None:
    with closing(duckdb.connect(":memory:")) as connection:
        assert connection.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]
        if text:
            assert connection.execute(f"SELECT 1 AS {identifier(text)}").description[0][0] == text


def test_every_table_of_live_has_a_view_with_its_columns(database: Database) -> None:
    with database.cursor() as cursor:
        found = tables(cursor)
    assert {"messages", "rejected_message", "message_mean", "room_temperature"} <= found.keys()
    for name, columns in found.items():
        assert [column for column, *_ in ask(database, f"DESCRIBE {name}")] == columns


def test_user_view_that_no_longer_fits_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "scaup.duckdb"
    with closing(Database(path, 256, 1)) as database:
        values = "('good', 'a', 'SELECT topic FROM messages', now()), ('wrong', 'a', 'SELECT missing FROM messages', now())"
        database.transact(lambda connection: connection.execute(f"INSERT INTO recorded_view VALUES {values}"))
    with closing(Database(path, 256, 1)) as database:
        Past(database).record(DAY, [("t", b"1")])
        assert ask(database, "FROM good") == [("t",)]
    assert "the view wrong does not fit what is recorded" in caplog.text
    with closing(open_read_only(path)) as connection:
        assert connection.execute("FROM good").fetchall() == [("t",)]


def test_invalid_user_view_does_not_stop_the_archive(database: Database, past: Past) -> None:
    past.record(DAY, a_day())
    values = "('wrong', 'a', 'SELECT missing FROM messages', now())"
    database.transact(lambda connection: connection.execute(f"INSERT INTO recorded_view VALUES {values}"))
    assert Archive(database, direct).move(DAY, silent) == len(a_day())


def test_columns_are_those_of_one_of_several_databases(database: Database, tmp_path: Path) -> None:
    with closing(duckdb.connect(str(tmp_path / "one.duckdb"))) as connection:
        for name in ("one", "two"):
            connection.execute(f"ATTACH IF NOT EXISTS '{tmp_path / name}.duckdb' AS {name}")
            connection.execute(f"CREATE SCHEMA {name}.live; CREATE TABLE {name}.live.t (a INTEGER, b INTEGER)")
        assert tables(connection) == {"t": ["a", "b"]}


def test_a_file_of_the_first_schema_has_no_views(tmp_path: Path) -> None:
    with closing(duckdb.connect(str(tmp_path / "first.duckdb"))) as connection:
        connection.execute("CREATE TABLE messages (topic VARCHAR)")
        define_views(connection, tmp_path)
        assert connection.execute("SELECT count(*) FROM messages").fetchall() == [(0,)]


def test_an_empty_database_has_no_last_number(database: Database) -> None:
    with database.cursor() as cursor:
        assert last_number(cursor) == 0


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (["1", "-7"], "BIGINT"),
        (["9223372036854775807", "-9223372036854775808"], "BIGINT"),
        (["9223372036854775808", "-1"], "HUGEINT"),
        (["18446744073709551616", "-170141183460469231731687303715884105727"], "HUGEINT"),
        (["1", "1" * 40], "VARCHAR"),
    ],
)
@pytest.mark.parametrize("form", ['{{"id":{}}}', "{}"])
def test_whole_numbers_are_exact_in_a_view(database: Database, past: Past, numbers: list[str], kind: str, form: str) -> None:
    past.record(DAY, [("meter", form.format(each).encode()) for each in numbers])
    database.transact(lambda connection: create(connection, infer(connection, "meters", "meter")))
    column = "id" if "id" in form else "value"
    found = ask(database, f"SELECT {column}, typeof({column}) FROM meters ORDER BY number")
    if kind == "BIGINT" and form == "{}" and max(map(len, numbers)) < 16:
        kind = "DOUBLE"  # which is exact
    assert [int(value) for value, _ in found] == [int(each) for each in numbers]
    assert {each for _, each in found} == {kind}
