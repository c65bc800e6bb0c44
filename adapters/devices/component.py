"""The component that joins declared devices to the bus: folder in, messages in, publications out.

What decides is pure: `catalog` (which declarations are active), `mapper` (messages of devices) and `outputs` (messages for
devices). Here is the rest: the folder, the subscriptions, the state of each declaration, and the journal by which each foreign
message counts once (docs/decisions/0015-devices.md).
"""

import asyncio
import gc
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from adapters.client.errors import ClientError, Failed
from adapters.devices.access import Access
from adapters.devices.catalog import Catalog
from adapters.devices.declaration import NAME
from adapters.devices.declared import Declared
from adapters.devices.folder import Folder, Kept, read_kept, write_kept
from adapters.devices.journal import FILE, Entry, Journal
from adapters.devices.mapper import Mapper, Taken
from adapters.devices.modbus.cells import Polled
from adapters.devices.outputs import Outputs
from adapters.devices.poller import Poller
from adapters.devices.recorded import asking
from adapters.devices.states import States
from adapters.devices.subscriptions import plan
from adapters.devices.tables import requests_of
from adapters.devices.warm_start import NEWEST_SQL, Found, newest_of, published_of, published_query
from broker.contract.heating.topics import STATE as ROOM_STATE
from broker.contract.heating.topics import VALVE_LEVEL
from broker.contract.storage.topics import Action, QueryRequest, StorageRequest
from broker.errors import BrokerUnavailable
from broker.log import Log
from broker.message import Message, Publication, encode
from broker.mqtt.options import Subscription
from broker.runtime.clock import PlantClock
from broker.runtime.component import Bus, SessionBus
from broker.runtime.rejection import rejection
from broker.runtime.settings import Settings

log = Log(__name__)

LOOK_EVERY_S = 0.4
PATIENCE_S, SHORT_PATIENCE_S = 30.0, 1.0
"""Wall seconds to wait for the recorder at a start, before what may have been published already is published again; where there
has never been one, the shorter time."""
QUERY_TIMEOUT_S = 5.0
RETRY_S = 0.2
BIAS_MOVE_C = 0.2
VIEWS_PAUSE_S = 1.0


class Devices:
    """Maps foreign messages by declarations, and sends levels and setpoints to devices.

    Args:
        folder: with the declarations.
        settings: of the process.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = Folder(folder), settings
        self._clock = PlantClock(settings.time_scale, settings.plant_epoch)
        self._catalog, self._mapper, self._outputs, self._states = Catalog(), Mapper(), Outputs(), States()
        self._access = Access(settings.data_dir, settings.broker_address(NAME), self._clock)
        self._poller = Poller(self._take_polled)
        self._subscribed: dict[str, Subscription] = {}
        self._journal: Journal | None = None
        self._found = Found()
        self._bus: SessionBus | None = None
        self._boot = ""
        self._biases: dict[str, float] = {}
        self._tables: dict[str, str] = {}
        self._views: asyncio.Task[None] | None = None
        self._views_due_s = 0.0
        self._mapper.is_echo = self._outputs.is_echo
        self._loaded = asyncio.Event()

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a message of a device, or of a room that a device follows.

        One that is malformed is published to `rejected/devices`, whole.

        Raises:
            Rejected: it is of a room, and not of the shape of its stream.
        """
        if VALVE_LEVEL.parse(message.topic) or ROOM_STATE.parse(message.topic):
            return self._outputs.take(message, now_s)
        if not self._mapper.route(message.topic):
            return []  # of a declaration that was removed
        entry = self._entry(message)
        taken = self._mapper.take(message.topic, message.payload, message.retain, datetime.now(UTC), self._clock.at())
        if taken.commands:
            log.info(
                "rebirth-requested",
                "asked the edge node of %(topic)s for a rebirth: %(reason)s",
                topic=message.topic,
                reason=taken.missed,
            )
        if entry is not None:
            taken = _left_out(taken, self._found.missing(entry))
        count = len(taken.publications) + (taken.reason is not None)
        if count and message.qos and self._journal is not None and self._bus is not None:
            self._journal.note(message.packet_id, message.topic, message.payload, self._bus.seq + 1, count)
        if taken.reason is None:
            return [*taken.publications, *taken.commands]
        # not by raising `Rejected`: of those, only so many are published one by one
        return [rejection(NAME, message.topic, message.payload, taken.reason), *taken.publications, *taken.commands]

    def on_tick(self, now_s: float) -> list[Publication]:
        """Publish the states that have changed, and what devices are sent and asked."""
        for name in self._mapper.quiet:
            log.info("device-without-reading", "%(name)s: a message has no reading; more of them are only counted", name=name)
        self._mapper.quiet.clear()
        sent = self._outputs.tick(now_s)
        self._keep_biases()
        return [*sent, *self._publish_states()]

    def _publish_states(self) -> list[Publication]:
        changed, self._mapper.changed = self._mapper.changed, set()
        changed |= self._outputs.counted(self._mapper.counts)
        self._states.links = self._mapper.links
        states = self._states.publications(self._catalog, self._mapper.counts, changed)
        return [*self._mapper.tick(datetime.now(UTC)), *states]

    async def prepare(self, bus: SessionBus) -> None:
        """Find out which publications of earlier starts were recorded, before anything is mapped.

        Raises:
            BrokerUnavailable: the connection was lost.
        """
        if self._bus is None:
            self._bus, self._boot = bus, bus.boot
            self._found = Found(self._boot)
            self._open_journal(bus.boot)
            self._restore()
            await self._load(bus)
            gc.freeze()  # what is loaded stays: looking through it again and again would delay messages by tens of ms
            self._loaded.set()
        if self._catalog.declared and not self._found.asked:
            await self._ask(self._journal.earlier() if self._journal else {})

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Look at the folder and poll devices until cancelled."""
        await self._loaded.wait()
        working(True)
        self._poller.use(self._catalog.declared.values())
        try:
            await self._look(bus)
        finally:
            if self._views is not None:
                self._views.cancel()
            await self._poller.close()

    async def _look(self, bus: Bus) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._poller.check()
            if self._views is None or self._views.done():
                self._views = self._start_views()
            if self._folder.changed():
                await self._load(bus)
                self._poller.use(self._catalog.declared.values())

    def _start_views(self) -> "asyncio.Task[None] | None":
        """Let the recorder make the views of declared tables, if they are others than it has."""
        wanted = requests_of(self._catalog.declared.values())
        texts = {name: encode(request).decode() for name, request in wanted.items()}
        if texts == self._tables or asyncio.get_running_loop().time() < self._views_due_s:
            return None
        self._views_due_s = asyncio.get_running_loop().time() + VIEWS_PAUSE_S
        return asyncio.create_task(self._make_views(wanted, texts), name="views")

    async def _make_views(self, wanted: Mapping[str, StorageRequest], texts: Mapping[str, str]) -> None:
        async with asking(self._settings.broker_address(NAME), self._clock) as visit:
            if not await visit.until_online(SHORT_PATIENCE_S):
                return
            for name in [each for each in self._tables if each not in wanted]:
                with suppress(ClientError):  # it is not there
                    await visit.carry_out(StorageRequest(action=Action.DROP_VIEW, name=name), QUERY_TIMEOUT_S)
                del self._tables[name]
            for name in [each for each in wanted if self._tables.get(each) != texts[each]]:
                try:
                    await visit.carry_out(wanted[name], QUERY_TIMEOUT_S)
                except Failed as error:
                    log.error("table-refused", "table.%(name)s: %(error)s", name=name, error=error)
                    self._mapper.note_error(f"table.{name}", str(error), datetime.now(UTC))
                except ClientError as error:
                    log.warning("table-late", "table.%(name)s is made later: %(error)s", name=name, error=error)
                    continue
                self._tables[name] = texts[name]
        self._keep()

    def _take_polled(self, declared: Declared, polled: Polled) -> None:
        assert self._bus is not None
        taken = self._mapper.take_polled(declared.id, polled, datetime.now(UTC), self._clock.at())
        for each in taken.publications:
            self._bus.publish(each)
        if taken.reason is not None and declared.modbus is not None:
            self._bus.publish(rejection(NAME, declared.modbus.address, encode(polled.registers), taken.reason))

    def _open_journal(self, boot: str) -> None:
        try:
            self._journal = Journal(self._settings.data_dir / FILE, boot)
        except OSError as error:
            log.warning(
                "journal-lost",
                "the data directory cannot be written, so a kill may double what was just published: %(error)s",
                error=error,
            )

    def _entry(self, message: Message) -> Entry | None:
        if not message.dup or self._journal is None:
            return None
        return self._journal.find(message.packet_id, message.topic, message.payload)

    def _restore(self) -> None:
        """Continue from what an earlier start has kept."""
        kept = read_kept(self._settings.data_dir)
        self._catalog.restore(kept.good)
        self._subscribed = {each: Subscription(filter=each) for each in kept.filters}
        self._outputs.restore(kept.biases)
        self._tables = dict(kept.tables)
        for each in kept.states:
            self._states.adopt(each)

    async def _load(self, bus: Bus) -> None:
        """Read the folder and put it into effect: rights first, then mapping and subscriptions, and states last."""
        self._catalog.update(self._folder.read())
        declared = self._catalog.declared
        for error in self._catalog.errors.values():
            log.error("declaration-unusable", "%(error)s", error=error)
        log.info("declarations-loaded", "%(count)d declarations are active", count=len(declared))
        await self._access.add(declared.values())
        self._mapper.use(declared.values())
        sent = self._outputs.use(declared.values())
        try:
            await self._subscribe()
        except BrokerUnavailable as error:
            log.warning("subscription-late", "%(error)s; it is repeated with the next connection", error=error)
        states = self._states.load(self._catalog, datetime.now(UTC))
        for each in (*sent, *states, *self._publish_states()):
            bus.publish(each)
        self._keep()
        with suppress(BrokerUnavailable):  # what was published by earlier declarations is judged before their rights end
            await bus.ping(QUERY_TIMEOUT_S)
        self._access.restrict(declared.values())

    async def _subscribe(self) -> None:
        assert self._bus is not None
        wanted = plan(self._catalog.declared.values(), self._outputs.streams())
        new = [each for name, each in wanted.items() if self._subscribed.get(name) != each]
        gone = [each for each in self._subscribed if each not in wanted]
        self._subscribed = wanted
        if new or gone:
            await self._bus.subscribe(new, gone)

    def _keep(self) -> None:
        try:
            biases = {room: round(bias_c, 2) for room, bias_c in self._outputs.biases.items()}
            kept = Kept(self._catalog.good, tuple(sorted(self._subscribed)), tuple(self._states.names), self._tables, biases)
            if kept != read_kept(self._settings.data_dir):
                write_kept(self._settings.data_dir, kept)
        except OSError as error:
            log.warning("declarations-not-kept", "the data directory cannot be written: %(error)s", error=error)

    def _keep_biases(self) -> None:
        """Keep the integrals of the loops when one has moved."""
        biases = self._outputs.biases
        if any(abs(bias_c - self._biases.get(room, 0.0)) > BIAS_MOVE_C for room, bias_c in biases.items()):
            self._biases = biases
            self._keep()

    async def _ask(self, earlier: dict[str, int]) -> None:
        """Ask the recorder until it answers; after `PATIENCE_S`, go on without it."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + PATIENCE_S
        async with asking(self._settings.broker_address("devices"), self._clock) as visit:
            while loop.time() < ends_s:
                if not await visit.until_online(SHORT_PATIENCE_S):
                    if visit.recorder is None:
                        break
                    continue
                try:
                    rows = await visit.query(published_query(earlier), QUERY_TIMEOUT_S) if earlier else []
                    newest = await visit.query(QueryRequest(sql=NEWEST_SQL), QUERY_TIMEOUT_S)
                except (ClientError, TimeoutError, BrokerUnavailable) as error:
                    log.info("recorder-awaited", "the recorder has not answered yet: %(error)s", error=error)
                    await asyncio.sleep(RETRY_S)
                    continue
                self._found = published_of(self._boot, rows)
                for name, at in newest_of(newest, self._catalog.declared.values()).items():
                    self._mapper.newest.setdefault(name, at)
                return
        log.warning(
            "recorder-absent",
            "no recorder has answered, so what was on its way at a kill may count twice",
        )
        self._found = Found(self._boot, asked=True)


def _left_out(taken: Taken, missing: list[int]) -> Taken:
    """Return what was made of a message without what was recorded already; the rejection comes first, if there is one."""
    first = int(taken.reason is not None)
    publications = [each for place, each in enumerate(taken.publications, first) if place in missing]
    return Taken(publications, taken.reason if 0 in missing else None, taken.commands)
