"""Simulated ships on the bus: each posts, once an hour, what its meter has read."""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from broker.contract.energy.topics import RAW
from broker.message import Message, Publication, encode
from sim.history import MOST_DEVICES
from sim.ships.faults import Reading, Wire
from sim.ships.model import DAY_S, METERS, Meter, Ship, ShipParameters, random_ship

POST_INTERVAL_S = 3600.0
FEWEST_READINGS = 2
"""In a post, since a single one does not show its interval: an hourly meter repeats the reading of the hour before."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The ships to simulate, numbered from 1: the first is always the same one, the others differ by seed."""

    ships: int = 3
    seed: int = 1
    faults: float = 0.01
    """Share of readings, and of posts, that have a fault, 0..1."""
    days: int = 0
    """Days before the start that are posted too, at once."""


class SimulatedShip:
    """One ship with its meter and its posts."""

    __slots__ = ("_due_s", "_last", "_ship", "_unsent", "_wire", "number")

    def __init__(self, number: int, ship: Ship, wire: Wire, first_post_s: float) -> None:
        self.number, self._ship, self._wire = number, ship, wire
        self._due_s = first_post_s
        self._unsent: list[Reading] = []
        self._last: deque[Reading] = deque(maxlen=FEWEST_READINGS)

    def posts(self, now_s: float, at_s: float) -> list[Publication]:
        """Advance to `at_s`, plant seconds since 1970, and post where that is due."""
        if now_s < self._due_s:
            return []
        self._due_s += POST_INTERVAL_S
        if self._due_s <= now_s:  # the next post includes a missed hour
            self._due_s = now_s + POST_INTERVAL_S
        readings = self._due(at_s)
        return [self._post(each) for each in self._wire.send(readings)] if readings else []

    def past(self, until_s: float) -> list[Publication]:
        """Advance to `until_s`, plant seconds since 1970, and post everything before it."""
        readings = self._due(until_s)
        return [self._post(each) for each in self._wire.send(readings)] if readings else []

    def _due(self, at_s: float) -> list[Reading]:
        """Return the readings to post, oldest first; none while there is only one."""
        new = self._unsent + list(self._ship.step(max(0.0, at_s - self._ship.now_s)))
        repeated = list(self._last)[len(new) - FEWEST_READINGS :] if 0 < len(new) < FEWEST_READINGS else []
        if 0 < len(new) + len(repeated) < FEWEST_READINGS:
            self._unsent = new
            return []
        self._unsent = []
        self._last.extend(new)
        return repeated + new

    def _post(self, readings: list[Reading]) -> Publication:
        data = [{"datetime": _text(at_s), "value": value} for at_s, value in readings]
        payload = encode({"spaceship_id": self.number, "units": self._ship.meter.units, "data": data})
        return Publication(topic=RAW.template.topic(ship=str(self.number)), payload=payload, qos=RAW.qos)


class SimulatedShips:
    """Sans-I/O component: a post of every ship each plant hour, spread over the hour.

    `at` gives the instant of plant time for `now_s`: readings have the beginning of their interval in the payload.
    """

    def __init__(self, fleet: Fleet, at: Callable[[float], datetime]) -> None:
        self._fleet, self._at = fleet, at
        self._ships: list[SimulatedShip] = []

    def on_message(self, message: Message, now_s: float) -> list[Publication]:  # noqa: ARG002
        """Ignore messages: ships only post."""
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Advance the ships whose post is due, and post."""
        at_s = self._at(now_s).timestamp()
        if not self._ships:
            self._ships = [self._simulated(number, now_s, at_s) for number in range(1, max(1, self._fleet.ships) + 1)]
        return [each for ship in self._ships for each in ship.posts(now_s, at_s)]

    def past(self, now_s: float, days: int) -> list[Publication]:
        """Return a post of each ship for each of the days before `now_s`; none where `Fleet.days` are posted anyway."""
        if self._fleet.days:
            return []
        at_s = self._at(now_s).timestamp()
        numbers = range(1, max(1, self._fleet.ships) + 1)
        self._ships = [self._simulated(each, now_s, at_s, days if each <= MOST_DEVICES else 0) for each in numbers]
        publications = []
        for until_s in (at_s - day * DAY_S for day in reversed(range(days))):
            posts = [post for ship in self._ships[:MOST_DEVICES] for post in ship.past(until_s)]
            publications += [replace(each, history_at=datetime.fromtimestamp(until_s, UTC)) for each in posts]
        return publications

    def _simulated(self, number: int, now_s: float, at_s: float, past_days: int = 0) -> SimulatedShip:
        fleet = self._fleet
        own_seed = zlib.crc32(f"{fleet.seed}/{number}".encode())
        parameters = ShipParameters() if number == 1 else random_ship(own_seed)
        meter: Meter = METERS[(number - 1) % len(METERS)]
        ship = Ship(parameters, meter, at_s - (fleet.days + past_days) * DAY_S, own_seed)
        spread_s = POST_INTERVAL_S * (number - 1) / max(1, fleet.ships)
        until_first_s = 0.0 if fleet.days else POST_INTERVAL_S - at_s % POST_INTERVAL_S
        return SimulatedShip(number, ship, Wire(fleet.faults, own_seed), now_s + until_first_s + spread_s)


def _text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
