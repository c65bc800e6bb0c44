"""The web component on the bus: it keeps what the system reports about itself, and answers requests from that."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric

from adapters.client.aio_recorder import RecorderClient
from adapters.http.app import application
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from adapters.web.broker import BrokerFigures
from adapters.web.declaration import CLIENT, RECORDED_TOPIC
from adapters.web.document import DOCUMENT
from adapters.web.overview import Overview
from adapters.web.routes import Routes
from adapters.web.systems import systems
from adapters.web.watch import Watch
from broker.contract.components.topics import ComponentState, Presence
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.runtime.component import Bus
from broker.runtime.settings import release


class Web:
    """A service: an HTTP server over what the system reports about itself.

    Args:
        listening: address and port of the server.
        expected: names of the components that are to run; empty: all that have ever been online.
    """

    def __init__(self, listening: Listening, expected: tuple[str, ...] = ()) -> None:
        self._listening = listening
        self._overview = Overview((CLIENT, ComponentState(Presence.ONLINE, "", release())), expected)
        self._broker, self._systems = BrokerFigures(), systems()
        self._recorder, self._watch = RecorderClient(CLIENT), BrokerWatch()
        self._recording = Watch(self._recorder)
        self._process = ProcessCollector(namespace="scaup_web", registry=CollectorRegistry(auto_describe=False))
        self._bus: Bus | None = None
        routes = Routes(self._overview, self._watch, self._figures)
        resources = routes.resources()
        self.app = application(resources, DOCUMENT, self._watch, listening.access, authenticator=listening.authenticator)

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Keep what a message reports.

        Raises:
            Rejected: it cannot be read.
        """
        for system in self._systems:
            if any(stream.parse(message.topic) for stream in system.streams):
                system.take(message, now_s)
                return []
        if message.topic == RECORDED_TOPIC:
            self._recorder.take(message)
        elif message.topic.startswith("$SYS/"):
            self._broker.take(message.topic, message.payload)
        elif not self._overview.take(message):
            raise Rejected(f"nothing is known about topic {message.topic!r}")
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: it publishes queries only."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; requests that run then have 2 s to finish.

        Raises:
            CannotStart: the server cannot listen on the port; the text names the cause and the fix.
        """
        self._bus = bus
        looking = asyncio.create_task(self._recording.run(bus), name="watch")
        try:
            await serve(HttpServer(self.app, self._listening), self._watch, bus, working)
        finally:
            looking.cancel()
            await asyncio.wait({looking})
        if not looking.cancelled():
            looking.result()

    def _figures(self, broker_error: str | None, now_at: datetime) -> Iterator[Metric]:
        self._recording.read()
        now_s = self._bus.now_s() if self._bus is not None else 0.0
        yield from self._overview.metrics(broker_error, now_at)
        if broker_error is None:
            yield from self._broker.metrics()
        for system in self._systems:
            yield from system.metrics(now_s)
        yield from self._recording.recorded.metrics()
        yield from self._process.collect()
