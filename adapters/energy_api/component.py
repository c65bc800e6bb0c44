"""The energy API on the bus: it passes posts on and asks the recorder, and remembers nothing."""

from collections.abc import Callable

from adapters.energy_api.declaration import STORED_TOPIC
from adapters.energy_api.document import DOCUMENT
from adapters.energy_api.recorder import Recorder
from adapters.energy_api.routes import MOST_AT_ONCE, Routes
from adapters.http.app import application
from adapters.http.exchange import Exchange
from adapters.http.server import HttpServer
from adapters.http.service import serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from broker.message import Message, Publication
from broker.runtime.component import Bus


class EnergyApi:
    """A service: an HTTP server between its clients and the bus."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._normalizer, self._recorder, self._watch = Exchange(STORED_TOPIC), Recorder(), BrokerWatch()
        self._routes = Routes(self._normalizer, self._recorder)
        self.app = application(self._routes.resources(), DOCUMENT, self._watch, MOST_AT_ONCE)

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Give an answer to the request that waits for it; one that comes too late is of no use to anybody."""
        if message.topic == STORED_TOPIC:
            self._normalizer.on_answer(message)
        else:
            self._recorder.on_answer(message)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: requests come when they come."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; requests that run then have 2 s.

        Raises:
            CannotStart: the port cannot be listened on; the text says why and what to do.
        """
        self._routes.bus = bus
        await serve(HttpServer(self.app, self._listening), self._watch, bus, working)
