"""Requests of the operator, from message to reply."""

import asyncio
from datetime import date
from pathlib import Path

import pytest

from broker.contract.storage.topics import Action, RequestEnd, StorageRequest
from broker.exchange import FINAL
from broker.message import Message, Publication, decode, encode
from storage.clock import WallClock
from storage.database.database import Database
from storage.retention.maintenance import MaintenanceService
from storage.retention.requests import Requests
from tests.storage.conftest import Past, a_day, ask, direct

TOPIC = "storage/answer/me"
DAY = date(2020, 1, 1)


def reply(database: Database, policy: Path, payload: bytes) -> RequestEnd:
    """Send a request and return the final message of its reply."""
    policy.write_text("# forever\n")
    ends: list[RequestEnd] = []

    async def send(publication: Publication) -> None:
        assert (publication.topic, publication.correlation_data) == (TOPIC, b"7")
        if (FINAL, "true") in publication.properties:
            ends.append(decode(publication.payload, RequestEnd))

    async def scenario() -> None:
        service = MaintenanceService(database, direct, policy, lambda warning: None, WallClock())
        requests = Requests(database, direct, service, send)
        requests.submit(Message(topic="storage/request", payload=payload, response_topic=TOPIC, correlation_data=b"7"))
        async with asyncio.timeout(30):
            while not ends:
                await asyncio.sleep(0.01)
        requests.cancel()
        service.stop()

    asyncio.run(scenario())
    return ends[0]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "retention.conf"


def test_day_is_archived_and_restored_on_request(database: Database, past: Past, policy: Path) -> None:
    past.record(DAY, a_day())
    done = reply(database, policy, encode(StorageRequest(action=Action.ARCHIVE, day=DAY))).done
    assert str(done).startswith(f"{len(a_day())} messages of 1 days archived")
    assert ask(database, "SELECT count(*) FROM live.messages") == [(0,)]
    done = reply(database, policy, encode(StorageRequest(action=Action.RESTORE, day=DAY))).done
    assert str(done).startswith(f"{len(a_day())} messages of 2020-01-01 are back")
    assert ask(database, "SELECT count(*) FROM live.messages") == [(len(a_day()),)]


def test_view_is_created_and_dropped_on_request(database: Database, past: Past, policy: Path) -> None:
    past.record(DAY, [("m/1", b'{"a":1}')])
    request = StorageRequest(action=Action.CREATE_VIEW, name="mine", filter="m/+")
    assert str(reply(database, policy, encode(request)).done).startswith("view mine: ")
    assert ask(database, "SELECT a FROM mine") == [(1,)]
    request = StorageRequest(action=Action.DROP_VIEW, name="mine")
    assert reply(database, policy, encode(request)).done == "view mine dropped"


@pytest.mark.parametrize(
    ("payload", "kind", "text"),
    [
        (b"garbage", "invalid", "the request cannot be used"),
        (encode(StorageRequest(action=Action.RESTORE)), "invalid", "restore needs a day"),
        (encode(StorageRequest(action=Action.RESTORE, day=DAY)), "failed", "2020-01-01 is not in the archive"),
        (encode(StorageRequest(action=Action.ARCHIVE, day=date(9999, 1, 1))), "invalid", "is not over"),
        (encode(StorageRequest(action=Action.CREATE_VIEW, name="mine")), "invalid", "a view needs a name"),
        (encode(StorageRequest(action=Action.DROP_VIEW)), "invalid", "dropping a view needs its name"),
    ],
)
def test_request_that_cannot_be_done_is_an_error(
    database: Database, policy: Path, payload: bytes, kind: str, text: str
) -> None:
    error = reply(database, policy, payload).error
    assert error is not None
    assert error.kind == kind
    assert text in error.message
