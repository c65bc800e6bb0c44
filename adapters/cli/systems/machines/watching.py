"""Watching machines until Ctrl-C: what comes on the bus, or what a source has every few seconds."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from adapters.cli.systems.machines.averaged import SourceAverages, averaged
from adapters.cli.systems.machines.source import SourceFailed, read_source
from adapters.client.bus import Bus, Received
from adapters.client.errors import ConnectionLost, Unreachable
from adapters.client.session import Session, hint, warn
from broker.contract.components.topics import STATE
from broker.contract.machines.topics import AVERAGE, READING
from broker.errors import Rejected
from broker.message import decode_json

_STEP_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_CONTROLLER = STATE.template.topic(component="moving-average")


def print_json(value: Any) -> None:
    """Print a JSON document on one line, and let the reader see it."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


class BusWatch:
    """Puts each average together with the reading before it."""

    def __init__(self) -> None:
        self._readings: dict[str, dict[str, Any]] = {}

    def take(self, received: Received) -> dict[str, Any] | None:
        """Take a message; return an averaged reading where it brings one."""
        if levels := READING.parse(received.topic):
            if (reading := _object(received.payload)) is not None:
                self._readings[levels["id"]] = reading
            return None
        levels = AVERAGE.parse(received.topic)
        average = _object(received.payload)
        reading = self._readings.get(levels["id"]) if levels else None
        return averaged(reading, average) if reading is not None and average is not None else None


def watch_bus(session: Session, machine: int | None) -> None:
    """Print each averaged reading on the bus, for ever; after a lost connection it goes on.

    Raises:
        Unreachable: there is no broker at the start.
        Refused: the broker does not allow it.
    """
    level = "+" if machine is None else str(machine)
    filters = [each.template.filter.replace("+", level) for each in (READING, AVERAGE)]
    with session.bus() as bus:
        state = bus.retained(_CONTROLLER).get(_CONTROLLER)
        if state is None or (_object(state.payload) or {}).get("state") != "online":
            hint("the moving average is not online: nothing comes until it is (scaup status moving-average)")
        bus.subscribe(*filters)
        watched = BusWatch()
        while True:
            try:
                received = bus.receive(_STEP_S)
            except ConnectionLost as lost:
                warn(f"{lost.message}; connecting again")
                _connect_again(bus, filters)
                continue
            if received is not None and (found := watched.take(received)) is not None:
                print_json(found)


def watch_source(place: str, every_s: float, averages: SourceAverages, pause: Callable[[float], None] = time.sleep) -> None:
    """Print the averaged readings of a source every `every_s` seconds, for ever; what is wrong goes to standard error."""
    next_s = time.monotonic()
    while True:
        try:
            found, wrong = averages.take(read_source(place))
        except SourceFailed as error:
            found, wrong = [], [f"{error}; trying again"]
        for text in wrong:
            warn(text)
        for each in found:
            print_json(each)
        next_s = max(next_s + every_s, time.monotonic())
        pause(max(0.0, next_s - time.monotonic()))


def _connect_again(bus: Bus, filters: list[str]) -> None:
    pause_s = _FIRST_PAUSE_S
    while True:
        time.sleep(pause_s)
        try:
            bus.connect()
            bus.subscribe(*filters)
        except Unreachable:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        found = decode_json(payload)
    except Rejected:
        return None
    return found if isinstance(found, dict) else None
