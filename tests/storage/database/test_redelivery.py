from datetime import UTC, datetime

import pytest

from broker.mqtt.packets import Delivery
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.database.redelivery import PACKET_IDENTIFIERS, CommittedMessages
from storage.retention.archive import Archive
from storage.schema.typed_streams import StreamCodes
from tests.storage.conftest import Deliver


def store(database: Database, session: int, *batch: TimedDelivery) -> None:
    database.commit(arrow_table(list(batch), session, StreamCodes()))


class Redelivered:
    """Checks one delivery at a time against the committed messages."""

    def __init__(self, database: Database, session: int = 1) -> None:
        self._database, self._committed = database, CommittedMessages(session, database.last_number)

    def contains(self, delivery: Delivery) -> bool:
        return self._database.find_redelivered(self._committed, [delivery]) == [delivery]


def test_redelivery_is_found_once(database: Database, deliver: Deliver) -> None:
    store(database, 1, deliver("t", b"21", packet_id=7), deliver("t", b"\xff", packet_id=8))
    redelivered = Redelivered(database)
    assert redelivered.contains(deliver("t", b"21", packet_id=7, dup=True).delivery)
    assert redelivered.contains(deliver("t", b"\xff", packet_id=8, dup=True).delivery)
    assert not redelivered.contains(deliver("t", b"21", packet_id=7, dup=True).delivery)


def test_new_message_is_no_redelivery(database: Database, deliver: Deliver) -> None:
    store(database, 1, deliver("t", b"21", packet_id=7), deliver("t", b"21", qos=0))
    redelivered = Redelivered(database)
    assert not redelivered.contains(deliver("t", b"21", packet_id=7).delivery), "no DUP flag"
    assert not redelivered.contains(deliver("t", b"22", packet_id=7, dup=True).delivery), "other payload"
    assert not redelivered.contains(deliver("u", b"21", packet_id=7, dup=True).delivery), "other topic"
    assert not redelivered.contains(deliver("t", b"21", packet_id=8, dup=True).delivery), "other identifier"
    stamped = deliver("t", b"21", packet_id=7, dup=True, properties=b"\x26\0\3seq\0\x019").delivery
    assert not redelivered.contains(stamped), "other number of the publisher"
    other = Redelivered(database, session=2)
    assert not other.contains(deliver("t", b"21", packet_id=7, dup=True).delivery)


def test_reused_identifier_matches_both_messages(database: Database, deliver: Deliver) -> None:
    store(database, 1, deliver("t", b"old", packet_id=7))
    store(database, 1, deliver("t", b"new", packet_id=7))
    redelivered = Redelivered(database)
    assert redelivered.contains(deliver("t", b"new", packet_id=7, dup=True).delivery)
    assert redelivered.contains(deliver("t", b"old", packet_id=7, dup=True).delivery)
    assert not redelivered.contains(deliver("t", b"new", packet_id=7, dup=True).delivery)


@pytest.mark.parametrize(("beyond", "payload", "found"), [(0, b"ON", True), (1, b"ON", False), (1, b"once", True)])
def test_older_redelivery_is_found_if_content_is_unique(
    database: Database, deliver: Deliver, beyond: int, payload: bytes, found: bool
) -> None:
    store(database, 1, deliver("t", b"ON", packet_id=5), deliver("t", payload, packet_id=9))
    store(database, 1, *(deliver("t", b"ON", packet_id=10) for _ in range(PACKET_IDENTIFIERS - 1 + beyond)))
    redelivered = Redelivered(database)
    assert redelivered.contains(deliver("t", payload, packet_id=9, dup=True).delivery) is found


def test_redelivery_matches_the_newest_of_equal_messages(database: Database, deliver: Deliver) -> None:
    store(database, 1, deliver("t", b"ON", packet_id=9))
    store(
        database, 1, *(deliver("t", b"ON", packet_id=10) for _ in range(PACKET_IDENTIFIERS)), deliver("t", b"ON", packet_id=9)
    )
    assert Redelivered(database).contains(deliver("t", b"ON", packet_id=9, dup=True).delivery)


def test_messages_committed_later_do_not_match(database: Database, deliver: Deliver) -> None:
    redelivered = Redelivered(database)
    store(database, 1, deliver("t", b"21", packet_id=7))
    assert not redelivered.contains(deliver("t", b"21", packet_id=7, dup=True).delivery)


def test_each_committed_message_matches_one_of_many(database: Database, deliver: Deliver) -> None:
    batch = [deliver("t", b"same", packet_id=1 + n // 2) for n in range(10)]
    store(database, 1, *batch)
    deliveries = [deliver("t", b"same", packet_id=1 + n // 3, dup=True).delivery for n in range(15)]
    found = database.find_redelivered(CommittedMessages(1, database.last_number), deliveries)
    assert sorted(each.packet_id for each in found) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_redelivery_is_found_despite_a_damaged_archive(database: Database, deliver: Deliver) -> None:
    old = deliver("t", b"old", packet_id=7)
    store(database, 1, TimedDelivery(1_700_000_000_000_000, old.delivery), deliver("t", b"new", packet_id=8))
    archive = Archive(database, lambda work: work())
    day = datetime.fromtimestamp(1_700_000_000, UTC).date()
    assert archive.move(day, lambda *_: None) == 1
    assert Redelivered(database).contains(deliver("t", b"old", packet_id=7, dup=True).delivery), "it is in the archive"
    (database.archive / archive.files.of_day(day, "messages")[0].path).unlink()
    assert Redelivered(database).contains(deliver("t", b"new", packet_id=8, dup=True).delivery)
    assert not Redelivered(database).contains(deliver("t", b"old", packet_id=7, dup=True).delivery)


def test_sessions_are_numbered(database: Database) -> None:
    assert database.session() == 0
    assert [database.begin_session(), database.begin_session()] == [1, 2]
    assert database.session() == 2
