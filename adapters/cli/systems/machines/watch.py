"""`scaup machines watch`: readings with their averages as JSON lines, from the bus or from a source, until Ctrl-C."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from adapters.cli.notices import hint, warn
from adapters.cli.session import reconnect
from adapters.cli.systems.machines.source import SourceFailed, read_source
from adapters.client.bus import Received
from adapters.client.errors import ConnectionLost
from adapters.client.session import Session
from broker.contract.components.topics import STATE
from broker.contract.machines.topics import AVERAGE, READING
from broker.errors import Rejected
from broker.message import decode_json
from controllers.moving_average.reading import DEFAULT_FIELDS, Field, check_reading, read
from controllers.moving_average.window import Window

_DECIMALS = 2
_STEP_S = 1.0
_CONTROLLER = STATE.template.topic(component="moving-average")


def print_json(value: Any) -> None:
    """Print a JSON document on one line, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def averaged(reading: Mapping[str, Any], average: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a reading unchanged, then the averages, rounded to two decimals."""
    shown = {name: round(value, _DECIMALS) if isinstance(value, float) else value for name, value in average.items()}
    return {**reading, **{name: value for name, value in shown.items() if name != "status"}}


class SourceAverages:
    """The averages over the readings of a source, computed as the controller does: over `length` readings of each machine.

    `machine` selects one machine, None all.
    """

    def __init__(self, machine: int | None, length: int, fields: tuple[Field, ...] = DEFAULT_FIELDS) -> None:
        self._machine, self._length, self._fields = machine, length, fields
        self._windows: dict[int, Window] = {}
        self._latest: dict[int, dict[str, Any]] = {}

    def take(self, payloads: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """Take the readings of a source at one time; return them averaged, and the errors of those that cannot be used.

        Every reading that changes its machine's window is returned; for a machine without a new one, its last one again.
        """
        found: list[dict[str, Any]] = []
        repeated: dict[int, dict[str, Any]] = {}
        wrong = []
        for number, payload in enumerate(payloads, start=1):
            try:
                machine, reading = check_reading(payload)
            except Rejected as error:
                wrong.append(f"reading {number}: {error}")
                continue
            if self._machine not in (None, machine):
                continue
            if self._add(machine, reading):
                found.append(self._latest[machine])
            else:
                repeated[machine] = self._latest[machine]
        new = {each["id"] for each in found}
        return [*found, *(each for machine, each in repeated.items() if machine not in new)], wrong

    def _add(self, machine: int, reading: dict[str, Any]) -> bool:
        window = self._windows.setdefault(machine, Window(self._length))
        changed = window.add(read(reading, self._fields))
        if changed or machine not in self._latest:
            self._latest[machine] = averaged(reading, window.average().payload(self._fields))
        return changed


class BusWatch:
    """Joins each average on the bus to the reading before it."""

    def __init__(self) -> None:
        self._readings: dict[str, dict[str, Any]] = {}

    def take(self, received: Received) -> dict[str, Any] | None:
        """Take a message; return an averaged reading if it is an average."""
        if levels := READING.parse(received.topic):
            if (reading := _object(received.payload)) is not None:
                self._readings[levels["id"]] = reading
            return None
        levels = AVERAGE.parse(received.topic)
        average = _object(received.payload)
        reading = self._readings.get(levels["id"]) if levels else None
        return averaged(reading, average) if reading is not None and average is not None else None


def watch_bus(session: Session, machine: int | None) -> None:
    """Print each averaged reading on the bus until interrupted; reconnect after a lost connection.

    Raises:
        Unreachable: there is no broker at the start.
        Refused: the broker does not allow it.
    """
    level = "+" if machine is None else str(machine)
    filters = [each.template.filter.replace("+", level) for each in (READING, AVERAGE)]
    with session.bus() as bus:
        state = bus.retained(_CONTROLLER).get(_CONTROLLER)
        if state is None or (_object(state.payload) or {}).get("state") != "online":
            hint("the moving average is not online: no averages arrive until it is (scaup status moving-average)")
        bus.subscribe(*filters)
        watched = BusWatch()
        while True:
            try:
                received = bus.receive(_STEP_S)
            except ConnectionLost as lost:
                warn(f"{lost.message}; reconnecting")
                reconnect(bus, lambda: bus.subscribe(*filters), resume=False)
                continue
            if received is not None and (found := watched.take(received)) is not None:
                print_json(found)


def watch_source(place: str, every_s: float, averages: SourceAverages, pause: Callable[[float], None] = time.sleep) -> None:
    """Print the averaged readings of a source every `every_s` seconds until interrupted; errors go to standard error."""
    next_s = time.monotonic()
    while True:
        try:
            found, wrong = averages.take(read_source(place))
        except SourceFailed as error:
            found, wrong = [], [f"{error}; retrying"]
        for text in wrong:
            warn(text)
        for each in found:
            print_json(each)
        next_s = max(next_s + every_s, time.monotonic())
        pause(max(0.0, next_s - time.monotonic()))


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        found = decode_json(payload)
    except Rejected:
        return None
    return found if isinstance(found, dict) else None
