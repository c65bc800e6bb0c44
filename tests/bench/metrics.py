"""Measure what the metrics cost: `python -m tests.bench.metrics`.

The time of one state that the component `web` takes, of one scrape with 10,000 rooms and chargers, and of the recorder's query
that sums up what came in 15 s at 5,000 messages a second.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from adapters.web.component import Web
from adapters.web.watch import LOOK_EVERY_S
from broker.contract.storage import questions
from broker.message import encode, read_message
from broker.mqtt.packets import Delivery, pack_user_properties
from broker.stamp import Stamp
from storage.database.batch import TimedDelivery, arrow_table
from storage.schema.typed_streams import StreamCodes
from tests.adapters.http.fakes import FakeBus, call, running
from tests.adapters.web.test_systems import room
from tests.adapters.web.world import filled
from tests.bench.figures import Figure, below, table
from tests.databases import open_database

THINGS = 10_000
RATE = 5_000
ROUNDS = 5


def properties_of(source: str, seq: int) -> bytes:
    """Return the stamp of a message as it is in the packet."""
    return pack_user_properties(Stamp(source, "0" * 20, seq).user_properties())[1:]  # without its length


def take_states(web: Web) -> float:
    """Return µs per state of a room, from the delivery on."""
    payload, properties = encode(room()), properties_of("heating", 1)
    deliveries = [Delivery(f"heating/room-{n}/state", payload, 1, True, False, 1, properties) for n in range(THINGS)]
    began_s = time.perf_counter()
    for each in deliveries:
        web.on_message(read_message(each), 0.0)
    return (time.perf_counter() - began_s) / THINGS * 1e6


def scrape(web: Web) -> float:
    """Return ms per scrape."""

    async def ask() -> float:
        async with running(web._watch.run(FakeBus())):
            await call(web.app, "GET", "/metrics", {"host": "localhost"})
            began_s = time.perf_counter()
            for _ in range(ROUNDS):
                assert (await call(web.app, "GET", "/metrics", {"host": "localhost"})).status == 200
            return (time.perf_counter() - began_s) / ROUNDS * 1e3

    return asyncio.run(ask())


def look(folder: Path) -> float:
    """Return ms of the query of one look."""
    count = int(RATE * LOOK_EVERY_S)
    database = open_database(folder / "web.duckdb", memory_mb=512)
    payload = b'{"id":1,"name":"n","description":"d","temperature":20.5,"fan_speed":900.5,"status":"IDLE"}'
    now_us = time.time_ns() // 1_000
    rows = [
        TimedDelivery(
            now_us + n,
            Delivery(f"machines/{n % 1_000}/reading", payload, 1, False, False, 1, properties_of("sim-machines", n + 1)),
        )
        for n in range(count)
    ]
    for begin in range(0, count, 5_000):
        database.commit(arrow_table(rows[begin : begin + 5_000], 1, StreamCodes()))
    statement = questions.since(0)
    with database.cursor() as cursor:
        cursor.execute(statement.sql, statement.parameters).fetchall()
        began_s = time.perf_counter()
        for _ in range(ROUNDS):
            cursor.execute(statement.sql, statement.parameters).fetchall()
        took_s = time.perf_counter() - began_s
    database.close()
    return took_s / ROUNDS * 1e3


def main() -> int:
    """Run the bench."""
    web = filled()
    with tempfile.TemporaryDirectory(prefix="scaup-web-") as folder:
        state_us, scrape_ms, look_ms = take_states(web), scrape(web), look(Path(folder))
    figures = [
        Figure("one state", state_us, "µs", below(50, "µs")),
        Figure(f"one scrape, {THINGS:,} rooms", scrape_ms, "ms", below(100, "ms")),
        Figure(f"one look of the recorder at {RATE * LOOK_EVERY_S:,.0f} messages", look_ms, "ms", below(500, "ms")),
    ]
    print(table(("figure", "target", "measured", "reached"), [figure.row for figure in figures]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
