from datetime import date

import pytest

from storage.database.database import Database
from storage.retention.archive import Archive
from storage.retention.policy import parse_policy
from storage.retention.purge import Purge
from tests.storage.conftest import Past, a_day, ask, direct, silent

DAY, TODAY = date(2026, 11, 1), date(2026, 12, 1)


@pytest.mark.parametrize(("forwarded", "kept"), [(None, False), (0, True), (10_000, False)])
def test_nothing_is_deleted_that_the_lake_lacks(past: Past, database: Database, forwarded: int | None, kept: bool) -> None:
    past.record(DAY, a_day())
    before = database.last_number
    archive = Archive(database, direct)
    archive.move(DAY, silent)
    Purge(archive.files, parse_policy("+/# keep 1d raw"), TODAY, forwarded).run(silent)
    ((count,),) = ask(database, "SELECT count(*) FROM messages")
    assert count == (before if kept else 0)
