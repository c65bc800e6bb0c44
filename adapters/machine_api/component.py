"""The machine API on the bus: it keeps the latest readings and averages, and answers requests from them."""

from collections.abc import Callable

from adapters.http.app import application
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from adapters.machine_api.document import DOCUMENT
from adapters.machine_api.machines import Machines
from adapters.machine_api.routes import Routes
from broker.contract.components.topics import FORGET, read_forget
from broker.contract.machines.topics import AVERAGE
from broker.message import Message, Publication
from broker.runtime.component import Bus


class MachineApi:
    """A service: an HTTP server over the latest readings of the machines."""

    def __init__(self, listening: Listening, time_scale: float = 1.0) -> None:
        self._listening = listening
        self._machines = Machines(time_scale=time_scale)
        self._watch = BrokerWatch()
        self._routes = Routes(self._machines, self._watch)
        resources = self._routes.resources()
        self.app = application(resources, DOCUMENT, self._watch, listening.access, authenticator=listening.authenticator)

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Keep a reading or averages, or forget a machine.

        Raises:
            Rejected: it cannot be used.
        """
        if AVERAGE.parse(message.topic):
            self._machines.on_average(message)
        elif FORGET.parse(message.topic) is not None:
            if (machine := read_forget(message, "machine")) is not None:
                self._machines.forget(machine)
        else:
            self._machines.on_reading(message, now_s)
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
