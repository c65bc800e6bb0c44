"""The charger adapter: a service with two websocket servers and the bus between them."""

import asyncio
import logging
from collections.abc import Callable

from adapters.chargers.server import Server
from adapters.chargers.side import ChargerSide, Side, WidgetSide
from adapters.listening import Listening
from broker.contract.charging.topics import CHARGER_LINK, PAIRS, STATUS, WIDGET_LINK
from broker.message import Message, Publication
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

SWEEP_S = 0.1
PAIRS_TIMEOUT_S = 5.0
"""How long the first clients wait for the pairs. Without them they are served too, with 503."""
STALE_S = 15.0
"""How long clients have to come back after a restart, before it is said that they are gone."""
REPORT_S = 60.0


class ChargerAdapter:
    """A service: chargers on one port, widgets on another.

    Args:
        name: of this process, as the bus knows it.
        boot: a new word at each start.
        chargers, widgets: where to listen.
        room: connections at most, on each port.
    """

    def __init__(self, name: str, boot: str, chargers: Listening, widgets: Listening, room: int) -> None:
        self._bus: Bus | None = None
        self._chargers = ChargerSide(name, boot, self._publish)
        self._widgets = WidgetSide(name, boot, self._publish)
        self._servers = (Server(self._chargers, chargers, room), Server(self._widgets, widgets, room))
        self._pairs_known = asyncio.Event()

    def on_message(self, message: Message, _now_s: float) -> list[Publication]:
        """Take the pairs, a widget's status, or a link.

        Raises:
            Rejected: it cannot be used.
        """
        if levels := STATUS.parse(message.topic):
            status = STATUS.decode(message).data.status if message.payload else None
            self._widgets.status(levels["id"], status)
        elif levels := CHARGER_LINK.parse(message.topic):
            self._hear(self._chargers, levels["id"], message)
        elif levels := WIDGET_LINK.parse(message.topic):
            self._hear(self._widgets, levels["id"], message)
        else:
            self._take_pairs(message)
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: chargers live in wall time."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; then close every connection.

        Raises:
            CannotStart: a port cannot be listened on; the text says why and what to do.
        """
        self._bus = bus
        try:
            for server in self._servers:
                server.listen()
            await self._wait_for_pairs()
            for server in self._servers:
                await server.start()
            working(True)
            await self._keep()
        finally:
            for server in self._servers:
                await server.stop()

    async def _wait_for_pairs(self) -> None:
        try:
            async with asyncio.timeout(PAIRS_TIMEOUT_S):
                await self._pairs_known.wait()
        except TimeoutError:
            log.warning("the pairs are not known: everybody gets 503 until the component `charging` tells them")

    async def _keep(self) -> None:
        """Look after the connections, for ever."""
        loop = asyncio.get_running_loop()
        stale_s, report_s = loop.time() + STALE_S, loop.time() + REPORT_S
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            for server in self._servers:
                server.sweep(now_s)
            if now_s >= stale_s:
                stale_s = now_s + STALE_S
                self._chargers.links.tell_stale()
                self._widgets.links.tell_stale()
            if now_s >= report_s:
                report_s = now_s + REPORT_S
                self._report()

    def _report(self) -> None:
        for server in self._servers:
            refused, why = server.take_refused()
            if refused:
                log.warning("%s: %d were not let in, the last: %s", server.side.kind, refused, why)

    def _take_pairs(self, message: Message) -> None:
        pairs = PAIRS.decode(message).pairs
        self._chargers.know(pairs.keys())
        self._widgets.know(frozenset(pairs.values()))
        self._pairs_known.set()
        log.info("%d pairs", len(pairs))

    def _hear(self, side: Side, client: str, message: Message) -> None:
        stream = CHARGER_LINK if side is self._chargers else WIDGET_LINK
        if message.payload:
            side.links.heard(client, stream.decode(message))

    def _publish(self, publication: Publication) -> None:
        assert self._bus is not None, "nobody is connected before it serves"
        self._bus.publish(publication)
