"""The API on a fake bus, with the real normalizer and the queries of a real recorder."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.energy_api.component import EnergyApi
from adapters.energy_api.declaration import PORT, RECORDED_TOPIC, STORED_TOPIC
from adapters.listening import Listening
from broker.contract.energy import topics as energy
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.mqtt.packets import Delivery
from broker.stamp import NO_STAMP, Stamp
from controllers.energy.component import EnergyNormalizer
from storage.database.batch import TimedDelivery, arrow_table
from storage.query.answers import answer, decode_request
from storage.query.limits import Cancellation, Limits
from storage.schema.typed_streams import StreamCodes
from tests.adapters.http.fakes import Answer, FakeBus, call
from tests.databases import open_database

JSON = {"content-type": "application/json"}


class World(FakeBus):
    """A bus on which everything is answered at once, unless a part of it is disabled."""

    def __init__(self, folder: Path, port: int = 8000) -> None:
        super().__init__()
        self.api = EnergyApi(Listening(("127.0.0.1",), port, PORT.name))
        self.api._routes.bus = self
        self.database = open_database(folder / "world.duckdb")
        self._codes = StreamCodes()
        self.normalizer = EnergyNormalizer()
        self.recorder_there = self.normalizer_there = True
        self.forgets: Callable[[Publication], bool] = lambda publication: False
        """Publications that the recorder never receives."""
        self.seqs = {"energy-api": 0, "energy": 0}
        self.recorded: list[Publication] = []

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        await super().deliver(publication, timeout_s)
        asyncio.get_running_loop().call_soon(self._pass_on, "energy-api", publication)

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = b"", leaves_s: float = 3600
    ) -> Answer:
        return await call(self.api.app, method, path, headers, body, leaves_s)

    def cancelled(self) -> list[tuple[bytes, bytes | None]]:
        """Return payload and correlation data of every cancellation of a query."""
        return [(each.payload, each.correlation_data) for each in self.published if each.topic == "storage/cancel"]

    def _pass_on(self, source: str, publication: Publication) -> None:
        self.seqs[source] += 1
        stamp = Stamp(source, f"boot of {source}", self.seqs[source])
        self._record(publication, stamp)
        message = Message(
            topic=publication.topic,
            payload=publication.payload,
            response_topic=publication.response_topic,
            correlation_data=publication.correlation_data,
            properties=publication.properties,
            stamp=stamp,
        )
        if message.topic in (STORED_TOPIC, RECORDED_TOPIC):
            assert self.api.on_message(message, 0.0) == []
        elif message.topic == "storage/query" and self.recorder_there:
            self._query(message)
        elif (energy.RAW.parse(message.topic) and self.normalizer_there) or message.topic == "storage/answer/energy":
            self._normalize(message)

    def _normalize(self, message: Message) -> None:
        try:
            publications = self.normalizer.on_message(message, 0.0)
        except Rejected:
            publications = []
        for each in publications:
            self._pass_on("energy", each)

    def _query(self, message: Message) -> None:
        for each in answer(message, decode_request(message), self.database, Limits(), Cancellation()):
            reply = Message(
                topic=each.topic,
                payload=each.payload,
                correlation_data=each.correlation_data,
                properties=each.properties,
                stamp=NO_STAMP,
            )
            if each.topic == RECORDED_TOPIC:
                self.api.on_message(reply, 0.0)
            else:
                self._normalize(reply)

    def _record(self, publication: Publication, stamp: Stamp) -> None:
        if self.forgets(publication):
            return
        self.recorded.append(publication)
        user = b"".join(b"\x26" + _text(name) + _text(value) for name, value in stamp.user_properties())
        packet_id = len(self.recorded) % 65_535 + 1
        delivery = Delivery(publication.topic, publication.payload, 1, False, False, packet_id, user)
        self.database.commit(arrow_table([TimedDelivery(time.time_ns() // 1_000, delivery)], 1, self._codes))


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


@asynccontextmanager
async def world(folder: Path, port: int = 8000) -> AsyncIterator[World]:
    """Make a world in which every part works."""
    made = World(folder, port)
    try:
        yield made
    finally:
        made.database.close()


def ask(folder: Path, method: str, path: str, headers: dict[str, str] | None = None, body: Any = b"") -> tuple[Answer, World]:
    """Send one request in a new world."""

    async def send() -> tuple[Answer, World]:
        async with world(folder) as made:
            return await made.ask(method, path, headers, body), made

    return asyncio.run(send())


def post(ship: Any, units: Any, rows: list[tuple[str, Any]], **more: Any) -> bytes:
    """Return the body of a post; times of five characters are on 2018-08-24."""
    data = [{"datetime": f"2018-08-24T{at}:00Z" if len(at) == 5 else at, "value": value} for at, value in rows]
    return json.dumps({"spaceship_id": ship, "units": units, **more, "data": data}).encode()
