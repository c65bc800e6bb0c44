"""The energy API on the bus: it passes posts on, asks the recorder for quarters, and has no state of its own."""

from collections.abc import Callable

from adapters.client.aio import AsyncExchange
from adapters.client.aio_recorder import RecorderClient
from adapters.energy_api.declaration import CLIENT, STORED_TOPIC
from adapters.energy_api.document import DOCUMENT
from adapters.energy_api.routes import MAX_CONCURRENT, Routes
from adapters.http.app import application
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from broker.message import Message, Publication
from broker.runtime.component import Bus


class EnergyApi:
    """A service: an HTTP server between its clients and the bus."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._normalizer, self._recorder, self._watch = AsyncExchange(STORED_TOPIC), RecorderClient(CLIENT), BrokerWatch()
        self._routes = Routes(self._normalizer, self._recorder)
        self.app = application(
            self._routes.resources(), DOCUMENT, self._watch, listening.access, MAX_CONCURRENT, listening.authenticator
        )

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Pass a reply to the request that waits for it; a late one is dropped."""
        if message.topic == STORED_TOPIC:
            self._normalizer.take(message)
        else:
            self._recorder.take(message)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: only requests make it publish."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; requests that run then have 2 s to finish.

        Raises:
            CannotStart: the server cannot listen on the port; the text names the cause and the fix.
        """
        self._routes.bus = bus
        await serve(HttpServer(self.app, self._listening), self._watch, bus, working)
