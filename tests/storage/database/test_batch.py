from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from storage.database.batch import Statements, arrow_table
from storage.schema.typed_streams import StreamCodes
from tests.storage.conftest import Deliver

SEEN = "SELECT number, topic FROM batch ORDER BY number"


@pytest.fixture
def statements() -> Iterator[Statements]:
    with duckdb.connect() as connection:
        yield Statements(connection)


@pytest.fixture
def table(deliver: Deliver) -> pa.Table:
    return arrow_table([deliver("a", b"1"), deliver("b", b"2"), deliver("c", b"3")], 1, StreamCodes())


def test_statement_reads_the_current_batch(statements: Statements, table: pa.Table) -> None:
    with statements.batch(table, 7):
        assert statements.run("seen", SEEN) == [(7, "a"), (8, "b"), (9, "c")]
    assert statements.run("seen", SEEN) == []
    with statements.batch(table.slice(1, 1)):
        assert statements.run("seen", SEEN) == [(1, "b")]
        assert statements.run("seen", SEEN) == [(1, "b")]


def test_batch_is_empty_after_a_failure(statements: Statements, table: pa.Table) -> None:
    with pytest.raises(duckdb.Error), statements.batch(table):
        statements.run("impossible", "SELECT topic::INTEGER FROM batch")
    assert statements.run("seen", SEEN) == []


def test_statement_uses_the_arguments_of_each_call(statements: Statements, table: pa.Table) -> None:
    above = "SELECT topic FROM batch WHERE number > $1 AND number < $2 ORDER BY number"
    with statements.batch(table):
        assert statements.run("above", above, 1, 4) == [("b",), ("c",)]
        assert statements.run("above", above, 2, 4) == [("c",)]


def test_failed_planning_is_retried(statements: Statements, table: pa.Table) -> None:
    later = "SELECT count(*) FROM later"
    with statements.batch(table):
        with pytest.raises(duckdb.CatalogException):
            statements.run("later", later)
        statements.connection.execute("CREATE TABLE later (x INTEGER)")
        assert statements.run("later", later) == [(0,)]


def test_plan_follows_an_altered_table(statements: Statements, table: pa.Table) -> None:
    statements.connection.execute("CREATE TABLE kept (topic VARCHAR)")
    insert = "INSERT INTO kept BY NAME SELECT topic FROM batch"
    with statements.batch(table):
        assert statements.run("insert_kept", insert) == [(3,)]
        statements.connection.execute("ALTER TABLE kept ADD COLUMN note VARCHAR DEFAULT 'none'")
        assert statements.run("insert_kept", insert) == [(3,)]
    assert statements.connection.execute("SELECT count(*), count(note) FROM kept").fetchall() == [(6, 6)]


def test_statements_commit_and_roll_back_with_the_connection(statements: Statements, table: pa.Table) -> None:
    statements.connection.execute("CREATE TABLE kept (topic VARCHAR)")
    for end, kept in (("ROLLBACK", 0), ("COMMIT", 3)):
        statements.connection.execute("BEGIN")
        with statements.batch(table):
            statements.run("insert_kept", "INSERT INTO kept SELECT topic FROM batch")
        statements.connection.execute(end)
        assert statements.connection.execute("SELECT count(*) FROM kept").fetchall() == [(kept,)]
