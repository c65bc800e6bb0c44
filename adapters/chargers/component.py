"""The charger adapter: a service that joins two websocket servers, for chargers and widgets, to the bus."""

import asyncio
from collections.abc import Callable

from adapters.chargers.clients import Chargers, Clients, Widgets
from adapters.chargers.declaration import DECLARATION
from adapters.chargers.ocpp.numbers import TransactionNumbers
from adapters.chargers.ocpp.stations import Stations
from adapters.chargers.ocpp.tags import IdTags
from adapters.chargers.server import Server
from adapters.listening import Listening
from broker.contract.charging.topics import CHARGE_POINT, CHARGER_LINK, PAIRS, REMOTE, STATUS, WIDGET_LINK
from broker.errors import BrokerUnavailable
from broker.log import Log
from broker.message import Message, Publication
from broker.runtime.component import Bus

log = Log(__name__)

SWEEP_S = 0.1
PAIRS_TIMEOUT_S = 5.0
"""Time for which the first clients wait until the pairs are known; after that they are answered with 503."""
STALE_S = 15.0
"""Time in which clients can come back after a restart before they are published as not connected."""
REPORT_S = 60.0
TAGS_S = 1.0
PING_TIMEOUT_S, RETRY_S = 5.0, 0.2


class ChargerAdapter:
    """A service: chargers on one port, widgets on another.

    Args:
        name: of this process on the bus.
        boot: a new id at each start.
        chargers, widgets: addresses and port to listen on.
        room: connections at most, on each port.
        numbers: for the transactions of OCPP chargers.
        tags: those that may charge.
    """

    def __init__(
        self,
        name: str,
        boot: str,
        chargers: Listening,
        widgets: Listening,
        room: int,
        numbers: TransactionNumbers,
        tags: IdTags,
    ) -> None:
        self._name, self._tags = name, tags
        self._bus: Bus | None = None
        self._stations = Stations(name, self._publish, self._deliver, numbers, tags.accept)
        self._elsewhere: set[str] = set()
        """Chargers that are connected to another adapter."""
        self._chargers = Chargers(name, boot, self._publish, self._stations)
        self._widgets = Widgets(name, boot, self._publish)
        self._servers = (Server(self._chargers, chargers, room), Server(self._widgets, widgets, room))
        self._pairs_known = asyncio.Event()

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Take the pairs, a widget's status, a link, or what concerns an OCPP charger.

        Raises:
            Rejected: it cannot be used.
        """
        if levels := STATUS.parse(message.topic):
            status = STATUS.decode(message).data.status if message.payload else None
            self._widgets.on_status(levels["id"], status)
        elif levels := CHARGER_LINK.parse(message.topic):
            self._take_link(self._chargers, levels["id"], message)
        elif levels := WIDGET_LINK.parse(message.topic):
            self._take_link(self._widgets, levels["id"], message)
        elif levels := CHARGE_POINT.parse(message.topic):
            self._stations.on_point(levels["id"], message)
        elif levels := REMOTE.parse(message.topic):
            return self._stations.request(levels["id"], message, self._away(levels["id"]))
        else:
            self._take_pairs(message)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: chargers live in wall time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; then close every connection.

        Raises:
            CannotStart: a port cannot be listened on; the text names the cause and the fix.
        """
        self._bus = bus
        try:
            for server in self._servers:
                server.listen()
            await self._wait_for_the_past(bus)
            for server in self._servers:
                await server.start()
            working(True)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._restore(bus))
                tasks.create_task(self._sweep())
        finally:
            for server in self._servers:
                await server.stop()

    async def _wait_for_the_past(self, bus: Bus) -> None:
        try:
            async with asyncio.timeout(PAIRS_TIMEOUT_S):
                await self._restore(bus)
                await self._pairs_known.wait()
        except TimeoutError:
            log.warning(
                "pairs-unknown", "the pairs are not known: every client gets 503 until the component `charging` publishes them"
            )

    async def _restore(self, bus: Bus) -> None:
        """Admit OCPP chargers once all that is retained about them has arrived: the broker answers a ping after that."""
        while not self._stations.restored:
            try:
                await bus.ping(PING_TIMEOUT_S)
                self._stations.restored = True
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_S)

    async def _sweep(self) -> None:
        """Ping and drop silent clients, and correct stale links, until cancelled."""
        loop = asyncio.get_running_loop()
        stale_s, report_s, tags_s = loop.time() + STALE_S, loop.time() + REPORT_S, loop.time() + TAGS_S
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            for server in self._servers:
                server.sweep(now_s)
            self._stations.check()
            if now_s >= tags_s:
                tags_s = now_s + TAGS_S
                self._tags.refresh()
            if now_s >= stale_s:
                stale_s = now_s + STALE_S
                self._chargers.connections.correct_stale()
                self._widgets.connections.correct_stale()
            if now_s >= report_s:
                report_s = now_s + REPORT_S
                self._report()

    def _report(self) -> None:
        for server in self._servers:
            refused, why = server.take_refused()
            if refused:
                log.warning(
                    "clients-refused",
                    "%(kind)s: %(count)d were refused, the last: %(reason)s",
                    kind=server.clients.kind,
                    count=refused,
                    reason=why,
                )

    def _take_pairs(self, message: Message) -> None:
        pairs = PAIRS.decode(message).pairs
        self._stations.widgets = pairs
        self._chargers.know(pairs.keys())
        self._widgets.know(frozenset(pairs.values()))
        self._pairs_known.set()
        log.info("pairs-loaded", "%(count)d pairs", count=len(pairs))

    def _take_link(self, clients: Clients, client: str, message: Message) -> None:
        stream = CHARGER_LINK if clients is self._chargers else WIDGET_LINK
        link = stream.decode(message) if message.payload else None
        if link is not None:
            clients.connections.on_link(client, link)
        if clients is self._chargers:
            is_elsewhere = link is not None and link.connected and link.adapter != self._name
            (self._elsewhere.add if is_elsewhere else self._elsewhere.discard)(client)

    def _away(self, charger: str) -> str | None:
        """Return why a charger that is not connected here cannot be asked; None where another adapter answers."""
        if charger in self._chargers.connections:
            return f"charger {charger} does not speak OCPP"
        is_first = self._name == DECLARATION.name
        return f"charger {charger} is not connected" if is_first and charger not in self._elsewhere else None

    def _publish(self, publication: Publication) -> None:
        assert self._bus is not None, "nothing is published before `serve`"
        self._bus.publish(publication)

    async def _deliver(self, publication: Publication, timeout_s: float) -> None:
        assert self._bus is not None, "nothing is published before `serve`"
        await self._bus.deliver(publication, timeout_s)
