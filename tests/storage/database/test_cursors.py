import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from storage.database.cursors import Cursors
from storage.errors import StorageError

ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def test_no_cursor_without_a_connection() -> None:
    with pytest.raises(StorageError, match="not open"), Cursors().lend(lambda: None, 0):
        pass


def test_running_queries_are_awaited_and_interrupted(connection: duckdb.DuckDBPyConnection) -> None:
    cursors, lent = Cursors(), threading.Event()

    def query() -> None:
        with cursors.lend(lambda: connection, 0) as cursor:
            lent.set()
            cursor.execute(ENDLESS).fetchall()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(query)
        assert lent.wait(10)
        assert not cursors.wait(0)
        while not cursors.interrupt(0.1):  # the query may not have started at the first
            pass
        with pytest.raises(duckdb.InterruptException):
            running.result(10)
    assert cursors.wait(0)


def test_new_queries_wait_while_held(connection: duckdb.DuckDBPyConnection) -> None:
    cursors = Cursors()

    def query() -> list[tuple[int]]:
        with cursors.lend(lambda: connection, 30) as cursor:
            return cursor.execute("SELECT 1").fetchall()

    with ThreadPoolExecutor(1) as pool:
        with cursors.held():
            running = pool.submit(query)
            with pytest.raises(TimeoutError):
                running.result(0.1)
        assert running.result(10) == [(1,)]


def test_cursor_is_lent_after_the_timeout(connection: duckdb.DuckDBPyConnection) -> None:
    cursors = Cursors()
    with cursors.held(), cursors.lend(lambda: connection, 0.01) as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
