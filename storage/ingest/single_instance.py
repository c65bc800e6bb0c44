"""Two recorders on one broker would take each other's session away for ever: the later one does not start."""

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
"""How long to wait for the broker; without one, nobody else records there either."""
RETAINED_S = 0.3
ALIVE_S = 2.5
"""A recorder that records says so every second. What is only retained may be the last word of one that is gone."""

_STATE_TOPIC = STATE.template.topic(component="recorder")


class _Listener(ConnectionListener):
    """Hears whether a recorder is said to be online, and whether it says so itself."""

    def __init__(self) -> None:
        self.online: ComponentState | None = None
        self.up, self.heard, self.alive = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def on_up(self) -> None:
        self.up.set()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.topic == _STATE_TOPIC:
                self._hear(delivery)
            elif not delivery.retain:
                self.alive.set()

    def _hear(self, delivery: Delivery) -> None:
        try:
            state = decode(delivery.payload, ComponentState)
        except Rejected:
            return
        self.online = state if state.state is Presence.ONLINE else None
        self.heard.set()


async def other_recorder(address: Address) -> str | None:
    """Return the boot of a recorder that records on this broker already, None if there is none, or no broker.

    Takes a few milliseconds, unless a recorder is said to be online: then up to 2.5 s, until it is heard or not.
    """
    listener = _Listener()
    subscriptions = tuple(Subscription(filter=each) for each in (_STATE_TOPIC, STATS.template.topic()))
    options = Options(client_id=f"recorder-look-{secrets.token_hex(4)}", subscriptions=subscriptions)
    connection = Connection(address, options, listener)
    running = asyncio.create_task(connection.run())
    try:
        if not await _within(CONNECT_S, listener.up):
            return None
        await _within(RETAINED_S, listener.heard)
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
