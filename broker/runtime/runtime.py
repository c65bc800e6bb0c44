"""The runtime: it owns event loop, connection, clock and signals, so that components stay plain objects."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from broker.contract.components.topics import STATE, WARNING, ComponentState, ComponentWarning, Presence, removal
from broker.contract.replay import MARK
from broker.contract.storage.topics import ANSWER, QUERY
from broker.errors import (
    NOT_ALLOWED_EXIT,
    TAKEN_OVER_EXIT,
    BrokerUnavailable,
    BusError,
    NotAllowedHere,
    Rejected,
    TakenOver,
)
from broker.log import VARIABLE, Log, configure
from broker.message import Publication, decode, read_message
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.options import Options, Subscription
from broker.mqtt.packets import Delivery, MalformedPacket, parse_properties
from broker.mqtt.topics import matches
from broker.mqtt.visit import Visit, end_session
from broker.runtime.client_id import DONE, keep_secrets, random_secret, read_note, read_secret, write_note
from broker.runtime.clock import PlantClock
from broker.runtime.component import Component, Preparing, Service
from broker.runtime.declaration import Declaration
from broker.runtime.publisher import Publisher
from broker.runtime.rejection import Overload
from broker.runtime.settings import Settings, read_environment, release
from broker.stamp import TICK, is_history

log = Log(__name__)

FLUSH_TIMEOUT_S = 5.0
SETTLE_S = 0.5
"""Wait after a reconnect for the state of another instance, before publishing `online`."""
RETRY_S = 1.0
"""Wait after a failed attempt to empty the session of an earlier release."""
MISSED_AT_ONCE = 1_000
OVERLOAD_TICK_S = 1.0
_QUERY, _ANSWERS = QUERY.template.text, ANSWER.template.text.partition("{")[0]
SHORTEST_TICK_S = 0.005
"""Wall seconds between two ticks, at any time scale."""


def run(declaration: Declaration, build: Callable[[Settings], Component]) -> None:
    """Build a component and run it in the foreground until SIGTERM or SIGINT, then exit the process.

    Exit code 0 after a clean stop, 1 when it could not start, 75 when another instance took its place: a supervisor must not
    restart this one, or the two would disconnect each other endlessly. Exit code 4 where it may not run, which stays so.
    """
    configure(declaration.name, read_environment().get(VARIABLE))
    code = 0
    try:
        settings = Settings.load()
        asyncio.run(_serve(declaration, build(settings), settings))
    except TakenOver as error:
        log.error("taken-over", "%(error)s", error=error)
        code = TAKEN_OVER_EXIT
    except NotAllowedHere as error:
        log.error("not-allowed-here", "%(error)s", error=error)
        code = NOT_ALLOWED_EXIT
    except BusError as error:
        log.error("cannot-run", "%(error)s", error=error)
        code = 1
    else:
        log.info("stopped", "stopped")
    sys.exit(code)  # not inside `except`: the error would keep alive the frames it was raised in


async def _serve(declaration: Declaration, component: Component, settings: Settings) -> None:
    await Runtime(declaration, component, settings).run()


class Runtime(ConnectionListener):
    """Runs one component: connection, presence, plant clock, ticks, rejected messages, clean stop."""

    def __init__(self, declaration: Declaration, component: Component, settings: Settings) -> None:
        self._declaration, self._component = declaration, component
        self._clock = PlantClock(settings.time_scale, settings.plant_epoch)
        self._publisher = Publisher(declaration.name, self._clock)
        self._overload = Overload(declaration.name)
        self._warning: str | None = None
        self._own_topic = STATE.template.topic(component=declaration.name)
        self._ready = not isinstance(component, Service)
        self._is_online = self._was_up = self._reconnecting = False
        self._stopping = asyncio.Event()
        self._missed: list[Delivery] | None = [] if declaration.session_s else None
        """Messages that the broker had queued, held back until all retained ones have arrived; None from then on."""
        self._up = asyncio.Event()
        self._connects = 0
        self._handed_over = False
        self._data_dir = settings.data_dir
        options = Options(
            client_id=declaration.name,
            secret=_secret(declaration, settings),
            subscriptions=tuple(Subscription(filter=each) for each in self._filters()),
            session_expiry_s=declaration.session_s,
            acknowledge=False,
            acknowledge_in_order=True,
            max_queued=declaration.max_queued,
            receive_maximum=declaration.receive_maximum,
            will=self._publisher.will(self._presence(Presence.OFFLINE)),
        )
        self._address = settings.broker_address(declaration.account or declaration.name)
        self._options = options
        self._connection = Connection(self._address, options, self)

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`; then let the component finish, publish `offline` and disconnect.

        Raises:
            TakenOver: another instance took this component's place.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        connection = asyncio.create_task(self._connection.run(), name="connection")
        work = [asyncio.create_task(each, name=name) for name, each in self._work()]
        try:
            await self._until_stopped([connection, *work])
        finally:
            await _cancel(work)
            await self._leave()
            await _cancel([connection])

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Handle deliveries and acknowledge them afterwards: after a kill they are delivered again, and none is lost."""
        if self._missed is not None:
            self._missed += [each for each in deliveries if not each.retain]
            deliveries = [each for each in deliveries if each.retain]
        self._handle_all(deliveries)

    def _handle_all(self, deliveries: list[Delivery], live: bool = True) -> None:
        for delivery in deliveries:
            self._handle(delivery, live)
        self._connection.acknowledge(deliveries)

    async def _catch_up(self) -> None:
        """Hand over missed messages after each connect: the broker answers a ping after it has sent the retained messages."""
        while True:
            await self._up.wait()
            self._up.clear()
            try:
                connects = self._connects
                await self._connection.ping()
                await self._empty_earlier_session()
                if isinstance(self._component, Preparing):
                    await self._component.prepare(self)
                if connects != self._connects or not self._connection.connected:
                    continue
            except BrokerUnavailable as error:
                if self._connection.connected:
                    log.warning(
                        "broker-unreachable", "%(error)s; trying again in %(pause_s).1f s", error=error, pause_s=RETRY_S
                    )
                    asyncio.get_running_loop().call_later(RETRY_S, self._up.set)
                continue  # otherwise the next connection sets `_up`
            if await self._hand_over(connects):
                self._missed = None

    async def _hand_over(self, connects: int) -> bool:
        """Hand over missed messages, in pieces: what follows from all of them at once may be more than can wait to be sent.

        Returns whether all were handed over before the connection was lost.
        """
        while self._missed and connects == self._connects and self._connection.connected:
            batch, self._missed[:MISSED_AT_ONCE] = self._missed[:MISSED_AT_ONCE], []
            self._handle_all(batch, live=False)
            while self._missed and self._connection.unsent > MISSED_AT_ONCE and self._connection.connected:
                await self._connection.flush(RETRY_S)
        return connects == self._connects and self._connection.connected

    async def _empty_earlier_session(self) -> None:
        """Hand over what the session of earlier releases holds, whose client id was the bare name, and end it: once.

        The present session is subscribed by now, so no message is in neither of them; one can be in both, as after a kill.

        Raises:
            BrokerUnavailable: the connection was lost; what was not handed over is still in the session.
        """
        name = self._declaration.name
        self._handed_over = self._handed_over or read_note(self._data_dir, name) == DONE
        if self._handed_over:
            return
        found: list[Delivery] = []
        options = replace(self._options, secret="", subscriptions=(), will=None)
        async with Visit(self._address, options, lambda deliveries: found.extend(deliveries)) as earlier:
            count = 0
            while True:
                await earlier.ping()
                if not found:
                    break
                batch = found[:]
                found.clear()
                for delivery in batch:
                    if not delivery.retain and any(matches(each, delivery.topic) for each in self._filters()):
                        self._handle(delivery, live=False)
                earlier.acknowledge(batch)
                count += len(batch)
        await end_session(self._address, options)
        if earlier.present:
            log.info(
                "session-taken-over", "took over the session of an earlier release, with %(messages)d messages", messages=count
            )
        self._handed_over = True
        try:
            write_note(self._data_dir, name, DONE)
        except OSError as error:
            log.warning(
                "session-note-lost",
                "the data directory cannot be written, so the next start looks for an earlier session again: %(error)s",
                error=error,
            )

    def _handle(self, delivery: Delivery, live: bool = True) -> None:
        if _is_replayed(delivery):
            return
        if delivery.topic == self._own_topic:
            self._check_takeover(delivery, live and not delivery.retain)
            return
        cause = delivery.topic
        try:
            message = read_message(delivery)
            if not self._declaration.takes_history and is_history(message.stamp.boot):
                return
            # Answers of the recorder are not recorded: the query is, and stands for them.
            cause = _QUERY if message.topic.startswith(_ANSWERS) else message.reference
            self._publish_all(self._component.on_message(message, self.now_s()), cause)
        except Rejected as error:
            self._reject(delivery, str(error), cause)
            self._publish_all(error.consequences, cause)

    async def before_connect(self) -> None:
        """Note whether this start of the component was connected before."""
        self._reconnecting = self._was_up

    def on_up(self) -> None:
        """Publish `online` once the component is ready; after a reconnect, only if no later instance has taken over."""
        self._was_up = True
        self._connects += 1
        self._up.set()
        asyncio.get_running_loop().call_later(SETTLE_S if self._reconnecting else 0, self._publish_online)

    def on_down(self) -> None:
        """Note that the component is offline. The broker delivers again what was not acknowledged."""
        self._is_online = False
        if self._declaration.session_s:
            self._missed = []

    def stop(self) -> None:
        """Request a clean stop."""
        self._stopping.set()

    def publish(self, publication: Publication) -> None:
        """Stamp a publication and send it, now or as soon as the broker is connected."""
        self._publisher.publish(publication, self._connection)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        """Stamp a publication, send it, and wait until the broker has acknowledged it.

        Raises:
            BrokerUnavailable: there is no connection, the broker refused it, or did not answer in time.
            InvalidTopic: the topic may not be published to.
        """
        await _in_time(self._connection.deliver(self._publisher.stamped(publication)), timeout_s)

    async def ping(self, timeout_s: float) -> None:
        """Check that the broker answers.

        Raises:
            BrokerUnavailable: there is no connection, or the broker did not answer in time.
        """
        await _in_time(self._connection.ping(), timeout_s)

    async def subscribe(self, wanted: Iterable[Subscription], removed: Iterable[str] = ()) -> None:
        """Subscribe to further filters, and end the subscriptions to some; without a connection, with the next one.

        Raises:
            BrokerUnavailable: the broker refused it, or the connection was lost; the next one has it.
        """
        await self._connection.change_subscriptions(wanted, removed)

    @property
    def boot(self) -> str:
        """This start, as in the stamps of its publications."""
        return self._publisher.boot

    @property
    def seq(self) -> int:
        """The number of the latest publication."""
        return self._publisher.seq

    def now_s(self) -> float:
        """Plant time in seconds, growing from an arbitrary start."""
        return self._clock.now_s()

    def _filters(self) -> list[str]:
        streams = (stream.template.filter for stream in self._declaration.subscribes)
        return [self._own_topic, *streams, *self._declaration.subscribes_also]

    def _work(self) -> list[tuple[str, "asyncio._CoroutineLike[None]"]]:
        work: list[tuple[str, asyncio._CoroutineLike[None]]] = [("overload", self._watch_overload())]
        if self._declaration.session_s:
            work.append(("catching up", self._catch_up()))
        if self._declaration.wall_tick_s is not None:
            work.append(("ticks", self._tick(self._declaration.wall_tick_s)))
        elif self._declaration.tick_s is not None:
            work.append(("ticks", self._tick(self._clock.wall_s(self._declaration.tick_s))))
        if isinstance(self._component, Service):
            work.append(("service", self._component.serve(self, self._on_working)))
        return work

    async def _until_stopped(self, tasks: "list[asyncio.Task[None]]") -> None:
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done - {stopping}:
            task.result()

    async def _tick(self, wall_s: float) -> None:
        loop = asyncio.get_running_loop()
        period_s = max(wall_s, SHORTEST_TICK_S)
        next_s = loop.time()
        while True:
            next_s = max(next_s + period_s, loop.time())
            await asyncio.sleep(next_s - loop.time())
            self._publish_all(self._component.on_tick(self.now_s()), TICK)

    def _publish_all(self, publications: Iterable[Publication], cause: str) -> None:
        causes = () if self._declaration.is_plant else (cause,)
        for publication in publications:
            self._publisher.publish(publication, self._connection, causes=causes)

    def _reject(self, delivery: Delivery, reason: str, cause: str) -> None:
        publication = self._overload.reject(delivery.topic, delivery.payload, reason, time.monotonic())
        if publication is not None:
            self._publisher.publish(publication, self._connection, causes=(cause,))

    async def _watch_overload(self) -> None:
        while True:
            await asyncio.sleep(OVERLOAD_TICK_S)
            self._report_overload()

    def _report_overload(self) -> None:
        self._publish_all(self._overload.summary(self._connection.dropped, time.monotonic()), TICK)
        if self._overload.warning != self._warning:
            self._set_warning(self._overload.warning)

    def _set_warning(self, text: str | None) -> None:
        name, self._warning = self._declaration.name, text
        warning = None if text is None else ComponentWarning(text, self._publisher.boot)
        publication = removal(WARNING, name) if warning is None else WARNING.publication(warning, component=name)
        self._publisher.publish(publication, self._connection, urgent=True)

    def _on_working(self, working: bool) -> None:
        self._ready = working
        if working:
            self._publish_online()
        elif self._is_online:
            self._is_online = False
            self.publish(self._presence(Presence.OFFLINE))

    def _publish_online(self) -> None:
        if self._ready and self._connection.connected and not self._stopping.is_set() and not self._is_online:
            self._publisher.publish(self._presence(Presence.ONLINE), self._connection, urgent=True)
            self._is_online = True

    def _check_takeover(self, delivery: Delivery, live: bool) -> None:
        """Give way to a later start of this component, and correct what an earlier one leaves behind.

        Two starts on one data directory have one client id and disconnect each other; Mosquitto 2.0 does not send them the
        reason. Two on different ones are connected side by side. Each learns of the other by its state. One that is not
        `live`, but was retained or queued before the first connection, proves nothing: a broker that was killed restores what
        it saved last, which may be several starts old, and a clock that was ahead may have made it seem later.

        Raises:
            TakenOver: a later start of this component has been connected since this one was.
        """
        try:
            state = decode(delivery.payload, ComponentState)
        except Rejected:
            return
        if state.boot == self._publisher.boot:
            return
        is_later = state.boot > self._publisher.boot
        if is_later and (self._reconnecting or (state.state is Presence.ONLINE and live)):
            self._is_online = False
            name = self._declaration.name
            raise TakenOver(f"another {name} took the place of this one: it is running twice, and the later start continues")
        if self._is_online and not delivery.retain and not self._stopping.is_set():
            self._is_online = False  # the other's state is retained now; if it is online, it has to learn of this one
            self._publish_online()

    def _presence(self, presence: Presence) -> Publication:
        state = ComponentState(state=presence, boot=self._publisher.boot, version=release())
        return STATE.publication(state, component=self._declaration.name)

    async def _leave(self) -> None:
        if self._connection.connected:
            if self._warning is not None:
                self._set_warning(None)
            self.publish(self._presence(Presence.OFFLINE))
            if not await self._connection.flush(FLUSH_TIMEOUT_S):
                log.warning(
                    "publications-unsent",
                    "%(count)d publications were not acknowledged by the broker",
                    count=self._connection.unsent,
                )
            await self._connection.disconnect()


def _secret(declaration: Declaration, settings: Settings) -> str:
    """Return the secret part of the client id: the kept one where the broker keeps a session for it, or where there is one."""
    name = declaration.name
    try:
        if declaration.session_s:
            return keep_secrets(settings.data_dir, [name])[name]
    except OSError as error:
        log.warning(
            "session-not-kept",
            "no session is kept between two starts, since the data directory cannot be written: %(error)s",
            error=error,
        )
    return read_secret(settings.data_dir, name) or random_secret()


def _is_replayed(delivery: Delivery) -> bool:
    """Return whether this is a replay of a recorded message: nothing new has happened."""
    if MARK.encode() not in delivery.properties:
        return False
    try:
        return any(name == MARK for name, _ in parse_properties(delivery.properties).user)
    except MalformedPacket:
        return False  # `read_message` rejects it


async def _in_time(answer: Awaitable[None], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await answer
    except TimeoutError:
        raise BrokerUnavailable(f"the broker has not answered within {timeout_s:g} s") from None


async def _cancel(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and result is not sys.exception():  # `run` logs that one
            log.error("stop-failed", "while stopping: %(error)r", error=result)
