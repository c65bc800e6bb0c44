"""A recorder's database and query service in a process that may die: it reads a request per line and prints its outcome."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import duckdb

from broker.contract.storage.topics import QueryEnd, QueryRequest
from broker.exchange import FINAL
from broker.message import Message, Publication, decode, encode
from broker.mqtt.packets import Delivery
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.errors import StorageError
from storage.query.limits import Limits, limit_address_space
from storage.query.turns import Queries
from storage.schema.typed_streams import StreamCodes

T = TypeVar("T")
_numbers = itertools.count(1)
_TABLES = "SELECT format('{}.{}', schema_name, table_name) FROM duckdb_tables() WHERE NOT temporary ORDER BY 1"


class Client:
    """Sends queries to a query service, each as another client."""

    def __init__(self, database: Database) -> None:
        self._queries = Queries(database, self._send, Limits(grace_s=1.0))
        self._ended: asyncio.Future[QueryEnd]

    async def __call__(self, request: QueryRequest) -> QueryEnd:
        self._ended = asyncio.get_running_loop().create_future()
        topic = f"storage/answer/client-{next(_numbers)}"
        self._queries.submit(Message(topic="storage/query", payload=encode(request), response_topic=topic))
        return await self._ended

    async def _send(self, publication: Publication) -> None:
        if (FINAL, "true") in publication.properties:
            self._ended.set_result(decode(publication.payload, QueryEnd))


def contents(database: Database) -> list[tuple[str, int]]:
    with database.cursor() as cursor:
        names = [str(name) for (name,) in cursor.execute(_TABLES).fetchall()]
        counts = (cursor.execute(f"SELECT count(*) FROM {name}").fetchall() for name in names)
        return [(name, int(rows[0][0])) for name, rows in zip(names, counts, strict=True)]


def commit_one(database: Database) -> None:
    delivery = Delivery("t", b"1", 1, retain=False, dup=False, packet_id=1, properties=b"")
    database.commit(arrow_table([TimedDelivery(1_800_000_000_000_000 + next(_numbers), delivery)], 1, StreamCodes()))


def settings(database: Database) -> list[tuple[object, ...]]:
    with database.cursor() as cursor:
        return cursor.execute("SELECT name, value FROM duckdb_settings() ORDER BY 1").fetchall()


async def retry(work: Callable[[], T]) -> T:
    """Retry like the recorder, while a query that cannot be interrupted holds all memory."""
    while True:
        try:
            return work()
        except (duckdb.Error, StorageError, MemoryError):
            await asyncio.sleep(0.1)


async def attempt(database: Database, client: Client, request: QueryRequest) -> dict[str, object]:
    before = await retry(lambda: (contents(database), settings(database)))
    started_s = time.monotonic()
    end = await client(request)
    took_s = time.monotonic() - started_s
    unchanged = await retry(lambda: (contents(database), settings(database))) == before
    await retry(lambda: commit_one(database))
    grown = sum(n for _, n in await retry(lambda: contents(database))) - sum(n for _, n in before[0])
    error = {"kind": end.error.kind, "message": end.error.message} if end.error else {"kind": "harmless", "message": ""}
    return {**error, "rows": end.rows, "took_s": took_s, "unchanged": unchanged, "grown": grown}


async def main() -> None:
    database = Database(Path(sys.argv[1]), memory_mb=256, min_free_mb=1)
    client = Client(database)
    limit_address_space(1024)
    reading = ThreadPoolExecutor(1)  # its thread starts before memory is short
    while line := await asyncio.get_running_loop().run_in_executor(reading, sys.stdin.readline):
        print(json.dumps(await attempt(database, client, decode(line.encode(), QueryRequest))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
