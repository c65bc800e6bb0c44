"""The fastening controller: handles requests of consoles and operations of drivers."""

from collections.abc import Callable

from broker.contract.components.topics import FORGET, STATE, Presence, read_forget, removal
from broker.contract.fastening.topics import (
    ANSWER,
    CATALOG,
    JOB,
    LINK,
    REQUEST,
    TORQUE_EVENT,
    Action,
    Catalog,
    FasteningAnswer,
    FasteningError,
    FasteningRequest,
    Operation,
    Part,
    ToolError,
    TorqueEvent,
)
from broker.errors import Rejected
from broker.message import Message, Publication, convert, encode
from controllers.fastening.catalog import LARGEST_TORQUE_NM
from controllers.fastening.declaration import ADAPTER_STATE
from controllers.fastening.job import new_job
from controllers.fastening.station import Station, progress
from controllers.fastening.transitions import Event, RefusedEvent

MOST_DRIVERS = 1_000
_LONGEST_SHOWN = 200
"""Characters of a driver's message in the reason of an event."""


class Refused(Exception):
    """A request that is refused; nothing has changed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.error = FasteningError(kind, message)


class FasteningController:
    """Sans-I/O component that owns the job of every driver.

    `new_id` returns an id that no job has had before. `timeout_s` is in plant seconds.
    """

    def __init__(self, catalog: Catalog, timeout_s: float, new_id: Callable[[], str]) -> None:
        self._catalog, self._timeout_s, self._new_id = catalog, timeout_s, new_id
        self._parts = {part.part_id: part for part in catalog.parts}
        self._serials = {each.serial: each.part_id for each in catalog.serials}
        self._stations: dict[str, Station] = {}
        self._catalog_published = False

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take a request, a driver's event or link, the adapter's presence, or a retained job of an earlier run.

        Raises:
            Rejected: the message cannot be used: not JSON, of another shape, a torque that no driver can have reached, a
                response topic that is not ours, more than 1,000 drivers.
        """
        if levels := REQUEST.parse(message.topic):
            return self._take_request(levels["driver"], message, now_s)
        if levels := TORQUE_EVENT.parse(message.topic):
            return self._take_event(levels["driver"], message, now_s)
        if levels := LINK.parse(message.topic):
            if not message.payload:
                return []  # removed
            link = LINK.decode(message)
            return self._station(levels["driver"]).take_link(link.connected, link.error, now_s)
        if levels := JOB.parse(message.topic):
            return self._take_job(levels["driver"], message)
        if message.topic == ADAPTER_STATE:
            online = STATE.decode(message).state is Presence.ONLINE
            return [each for station in self._stations.values() for each in station.take_adapter(online, now_s)]
        if FORGET.parse(message.topic) is not None:
            return self._forget(message)
        raise Rejected(f"topic {message.topic!r} names no driver")

    def on_tick(self, now_s: float) -> list[Publication]:
        """Publish the catalog once, and report drivers whose operation is overdue."""
        publications = [] if self._catalog_published else [CATALOG.publication(self._catalog)]
        self._catalog_published = True
        for station in self._stations.values():
            publications += station.tick(now_s)
        return publications

    def _take_event(self, driver: str, message: Message, now_s: float) -> list[Publication]:
        try:
            event = TORQUE_EVENT.decode(message)
            if event.type == "error":
                return self._take_error(driver, event)
            if event.type != "operation":
                return []  # not documented by the driver; recorded only
            operation = _operation(event)
        except Rejected as error:
            reason = f"{error}: {_shown(message.payload)}"
            raise Rejected(str(error), self._station(driver).take_unusable(reason)) from error
        return self._station(driver).take_operation(operation, message.correlation_data, now_s)

    def _take_error(self, driver: str, event: TorqueEvent) -> list[Publication]:
        """Report the error of a tool; one that a websocket driver sends may have any shape, and is recorded only."""
        try:
            return self._station(driver).take_unusable(_shown(convert(event.data, ToolError).reason.encode()))
        except Rejected:
            return []

    def _take_job(self, driver: str, message: Message) -> list[Publication]:
        """Continue from a retained job. After a crash of the broker it may be older than the one here: then correct it."""
        if not message.retain or not message.payload:
            return []  # our own echo
        state = JOB.decode(message)
        known = self._stations.get(driver)
        if known is None or known.job is None:
            return self._station(driver).restore(state)
        return [known.retained()] if known.state != state else []

    def _forget(self, message: Message) -> list[Publication]:
        """Remove a driver and its retained job.

        Raises:
            Rejected: it is connected, or has an unfinished job.
        """
        driver = read_forget(message, "driver")
        if driver is None:
            return []
        station = self._stations.get(driver)
        if station is not None and station.has_unfinished:
            raise Rejected(f"driver {driver!r} has an unfinished job: cancel it first")
        if station is not None and station.connected:
            raise Rejected(f"driver {driver!r} is connected: disconnect it first")
        self._stations.pop(driver, None)
        return [removal(JOB, driver), removal(LINK, driver)]

    def _take_request(self, driver: str, message: Message, now_s: float) -> list[Publication]:
        if message.retain:
            raise Rejected("a retained request may be of any age: publish requests without the retain flag")
        if message.response_topic is not None and (ANSWER.parse(message.response_topic) or {}).get("driver") != driver:
            raise Rejected(f"{message.response_topic!r} is not a response topic of this driver: {ANSWER.template.text}")
        station, error = self._station(driver), None
        try:
            request = REQUEST.decode(message)
            publications = _ACTIONS[request.action](self, station, request, now_s)
        except Rejected as rejected:
            if message.response_topic is None:
                raise
            publications, error = [], FasteningError("invalid", str(rejected))
        except Refused as refused:
            publications, error = [], refused.error
        except RefusedEvent as refused:
            publications, error = [], FasteningError("no job", str(refused))
        if message.response_topic is None:
            if error is not None:
                raise Rejected(error.message)
            return publications
        return [_answer(message, FasteningAnswer(station.job, error, station.connected)), *publications]

    def _start(self, station: Station, request: FasteningRequest, now_s: float) -> list[Publication]:
        part = self._part(request.serial)
        self._refuse_unknown(station)
        serial = request.serial or ""
        self._refuse_held(station, serial, request.console)
        if station.active and station.job is not None and station.job.serial == serial:
            return station.hand_over(request.console, now_s)
        previous = next((each for each in self._stations.values() if each.unfinished(serial) is not None), None)
        job, publications = (None, []) if previous is None else previous.release(serial, now_s)
        publications += station.begin(job or new_job(self._new_id(), serial, part), request.console, now_s)
        return publications if previous in (None, station) else [*publications, previous.retained()]

    def _refuse_unknown(self, station: Station) -> None:
        known = [each.name for each in self._stations.values() if each.connected is not None]
        if known and station.connected is None:
            raise Refused("unknown driver", f"there is no torque driver {station.name!r}: there are {', '.join(known)}")

    def _refuse_held(self, station: Station, serial: str, console: str) -> None:
        _refuse_another(station, console)
        for other in self._stations.values():
            job = other.job
            if other is not station and other.active and job is not None and job.serial == serial and other.console is not None:
                raise Refused("busy", f"{serial} is being fastened with {other.name}, held by {other.console}")

    def _part(self, serial: str | None) -> Part:
        if serial is None:
            raise Refused("invalid", "to start a job, name the serial number")
        if serial not in self._serials:
            raise Refused("unknown serial", f"serial number {serial} does not exist: see scaup torque serials")
        part = self._parts.get(self._serials[serial])
        if part is None:
            part_id = self._serials[serial]
            raise Refused("no steps", f"serial number {serial} has partId {part_id}, which parts.json does not have")
        if not part.steps:
            name = f"part {part.part_number} {part.revision}"
            raise Refused("no steps", f"{name} of serial number {serial} has no steps in steps.json")
        return part

    def _attach(self, station: Station, request: FasteningRequest, _now_s: float) -> list[Publication]:
        if not station.active:
            raise Refused("no job", f"{station.name} has no running job: start one")
        _refuse_another(station, request.console)
        station.console = request.console
        return [station.retained()]

    def _detach(self, station: Station, request: FasteningRequest, _now_s: float) -> list[Publication]:
        if station.console != request.console:
            return []
        station.console = None
        return [station.retained()]

    def _pause(self, station: Station, request: FasteningRequest, now_s: float) -> list[Publication]:
        _refuse_another(station, request.console)
        return _apply(station, Event.PAUSED, now_s)

    def _cancel(self, station: Station, _request: FasteningRequest, now_s: float) -> list[Publication]:
        return _apply(station, Event.CANCELLED, now_s)

    def _retry(self, station: Station, request: FasteningRequest, now_s: float) -> list[Publication]:
        _refuse_another(station, request.console)
        return _apply(station, Event.RETRY, now_s)

    def _station(self, driver: str) -> Station:
        station = self._stations.get(driver)
        if station is None:
            if len(self._stations) >= MOST_DRIVERS:
                raise Rejected(f"there are {MOST_DRIVERS} drivers already, which is the limit")
            station = self._stations[driver] = Station(driver, self._timeout_s)
        return station


_ACTIONS = {
    Action.START: FasteningController._start,
    Action.ATTACH: FasteningController._attach,
    Action.DETACH: FasteningController._detach,
    Action.PAUSE: FasteningController._pause,
    Action.CANCEL: FasteningController._cancel,
    Action.RETRY: FasteningController._retry,
}


def _refuse_another(station: Station, console: str) -> None:
    if station.active and station.job is not None and station.console not in (None, console):
        raise Refused("busy", f"{station.name} is held by {station.console}: {progress(station.job)}")


def _apply(station: Station, event: Event, now_s: float) -> list[Publication]:
    if station.job is None:
        raise Refused("no job", f"{station.name} has no job")
    return station.apply(event, now_s)


def _operation(event: TorqueEvent) -> Operation:
    operation = convert(event.data, Operation)
    for torque_nm in (operation.current, operation.configured):
        if not 0 <= abs(torque_nm) <= LARGEST_TORQUE_NM:  # false for NaN too
            raise Rejected(f"{torque_nm} is not a possible torque")
    return operation


def _shown(payload: bytes) -> str:
    text = payload[: 4 * _LONGEST_SHOWN].decode(errors="replace")
    printable = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return printable if len(printable) <= _LONGEST_SHOWN else f"{printable[: _LONGEST_SHOWN - 1]}…"


def _answer(message: Message, answer: FasteningAnswer) -> Publication:
    return Publication(topic=message.response_topic or "", payload=encode(answer), correlation_data=message.correlation_data)
