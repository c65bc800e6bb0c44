"""Detection of another recorder on the same broker: each of the two would record everything, and answer every query."""

import asyncio
import secrets

from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.storage.topics import STATS
from broker.errors import Rejected
from broker.message import decode
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery

CONNECT_S = 2.0
"""Time for the connection; if there is no broker, no other recorder records there either."""
RETAINED_S = 0.3
"""Time for the retained state of the recorder."""
ALIVE_S = 2.5
"""Time for the statistics of a running recorder, which come every second. A retained state alone may be out of date."""

_STATE_TOPIC = STATE.template.topic(component="recorder")


class _Listener(ConnectionListener):
    """Receives the retained state of a recorder, and the statistics that show that it runs."""

    def __init__(self) -> None:
        self.online: ComponentState | None = None
        self.up, self.state_received, self.alive = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def on_up(self) -> None:
        self.up.set()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.topic == _STATE_TOPIC:
                self._on_state(delivery)
            elif not delivery.retain:
                self.alive.set()

    def _on_state(self, delivery: Delivery) -> None:
        try:
            state = decode(delivery.payload, ComponentState)
        except Rejected:
            return
        self.online = state if state.state is Presence.ONLINE else None
        self.state_received.set()


async def other_recorder(address: Address) -> str | None:
    """Return the boot of a recorder that already records on this broker, None if there is none, or no broker.

    This takes a few milliseconds, or up to 2.5 s if the retained state of a recorder is online.
    """
    listener = _Listener()
    subscriptions = tuple(Subscription(filter=each) for each in (_STATE_TOPIC, STATS.template.topic()))
    options = Options(client_id=f"recorder-check-{secrets.token_hex(4)}", subscriptions=subscriptions)
    connection = Connection(address, options, listener)
    running = asyncio.create_task(connection.run())
    try:
        if not await _within(CONNECT_S, listener.up):
            return None
        await _within(RETAINED_S, listener.state_received)
        if listener.online is None or not await _within(ALIVE_S, listener.alive):
            return None
        return listener.online.boot
    finally:
        await connection.disconnect()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
