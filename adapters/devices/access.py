"""What the broker allows the component: exactly what is declared, kept up while declarations come and go.

The rules count when the broker has read them, up to a second later. Until then it refuses what is published, and does not
deliver what is subscribed to. So the rules have a mark, a topic of their own that may be read: when it is delivered, they
count.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from adapters.devices.declaration import NAME
from adapters.devices.declared import Declared
from broker.contract.devices.topics import ACCESS, AccessMark
from broker.errors import BrokerUnavailable
from broker.launch.accounts import AccountError
from broker.launch.declared import DeclaredRights, read_declared, reload_broker, write_declared
from broker.log import Log
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from broker.runtime.client_id import random_secret
from broker.runtime.clock import PlantClock
from broker.runtime.publisher import Publisher

log = Log(__name__)

EFFECTIVE_LIMIT_S = 3.0
PROBE_EVERY_S = 0.1


class Access:
    """The rights of the component at a broker whose data directory is here; at any other one, nothing is done."""

    def __init__(self, data_dir: Path, address: Address, clock: PlantClock) -> None:
        self._data_dir, self._address, self._clock = data_dir, address, clock

    async def add(self, declared: Iterable[Declared]) -> None:
        """Let the broker allow what is declared beside what it allows already; return when it does, or after three seconds."""
        known, wanted = read_declared(self._data_dir), _rights(declared)
        reads = {each for each in known.reads if ACCESS.parse(each) is None}
        both = DeclaredRights(tuple(sorted({*known.publishes, *wanted.publishes})), tuple(sorted({*reads, *wanted.reads})))
        mark = self._write(both)
        if mark is not None and not await self._until_read(mark):
            log.warning(
                "access-late", "the broker has not read its access rules within %(limit_s).0f s", limit_s=EFFECTIVE_LIMIT_S
            )

    def restrict(self, declared: Iterable[Declared]) -> None:
        """Let the broker allow what is declared, and no more."""
        self._write(_rights(declared))

    def _write(self, rights: DeclaredRights) -> str | None:
        """Write rights and let the broker read them; return the topic of their mark, None where nothing has changed."""
        text = "\n".join([*rights.publishes, "", *rights.reads])
        mark = ACCESS.template.topic(rules=hashlib.sha256(text.encode()).hexdigest()[:12])
        try:
            marked = (*rights.reads, mark) if rights.publishes or rights.reads else ()  # without declarations, no rules
            if not write_declared(self._data_dir, rights.publishes, marked):
                return None
            reload_broker(self._data_dir)
        except (OSError, AccountError) as error:
            log.error("access-unchanged", "the broker's access rules cannot be changed: %(error)s", error=error)
            return None
        log.info("access-changed", "the broker reads its access rules again")
        return mark

    async def _until_read(self, mark: str) -> bool:
        """Publish to a topic that only the new rules allow to read, until it is delivered; return whether it is in time."""
        waiting, publisher = _Waiting(), Publisher(NAME, self._clock)
        options = Options(client_id=f"{NAME}-access", secret=random_secret(), subscriptions=(Subscription(filter=mark, qos=0),))
        connection = Connection(self._address, options, waiting)
        running = asyncio.create_task(connection.run(), name="access")
        try:
            async with asyncio.timeout(EFFECTIVE_LIMIT_S):
                await waiting.up.wait()
                while not waiting.delivered.is_set():
                    rules = (ACCESS.parse(mark) or {})["rules"]
                    publisher.publish(ACCESS.publication(AccessMark(rules), rules=rules), connection)
                    try:
                        async with asyncio.timeout(PROBE_EVERY_S):
                            await waiting.delivered.wait()
                    except TimeoutError:
                        continue
            return True
        except TimeoutError:
            return False
        finally:
            with suppress(BrokerUnavailable):
                await connection.disconnect()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class _Waiting(ConnectionListener):
    def __init__(self) -> None:
        self.up, self.delivered = asyncio.Event(), asyncio.Event()

    def on_up(self) -> None:
        self.up.set()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        if deliveries:
            self.delivered.set()


def _rights(declared: Iterable[Declared]) -> DeclaredRights:
    known = list(declared)
    publishes = {topic for each in known for topic in each.publishes}
    return DeclaredRights(tuple(sorted(publishes)), tuple(sorted({each.selects for each in known if each.selects is not None})))
