"""Simulated chargers with their customers, and the widgets that belong to them."""

import asyncio
import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from broker.contract.charging.topics import SESSION
from broker.log import Log
from broker.message import Message, Publication
from broker.runtime.component import Bus
from sim.chargers.clients import Backoff, Client, ClientGroup
from sim.chargers.connection import Endpoint
from sim.chargers.frames import Fault, soc_frame, soc_frames, status_of
from sim.chargers.model import Booth
from sim.chargers.past import past_sessions
from sim.history import MOST_DEVICES

log = Log(__name__)

SHORTEST_SLEEP_S = 0.02
"""Everything due within it is done together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The booths to simulate: `sim-c1` with `sim-w1`, and so on; `faults` gives the share of frames that have each."""

    chargers: int = 5
    seed: int = 1
    faults: Mapping[Fault, float] = field(default_factory=dict)

    def pairs(self) -> dict[str, str]:
        """Return each charger's widget."""
        return {f"sim-c{n}": f"sim-w{n}" for n in range(1, self.chargers + 1)}


def _today(now_s: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=now_s)


class Charger:
    """One simulated charger."""

    __slots__ = ("_booth", "_faults", "_now_s", "_rng", "client")

    def __init__(self, name: str, fleet: Fleet, group: ClientGroup, backoff: Backoff, now_s: float) -> None:
        self._booth = Booth(f"{fleet.seed}/{name}")
        self._faults, self._rng = fleet.faults, random.Random(f"faults {fleet.seed}/{name}")
        self._now_s = now_s
        self.client = Client(name, group, self._on_open, _ignore, backoff)

    def advance(self, now_s: float) -> float:
        """Let plant time pass and send what is due; return when something is due again."""
        dt_s, self._now_s = now_s - self._now_s, now_s
        soc = self._booth.step(max(0.0, dt_s))
        if soc is not None:
            self.client.send(soc_frames(soc, self._faults, self._rng))
        return now_s + self._booth.next_s

    def _on_open(self) -> None:
        """Send the state of charge at once: the battery has gone on charging meanwhile."""
        if (soc := self._booth.soc) is not None:
            self.client.send([soc_frame(soc)])


class Widget:
    """One simulated widget.

    Attributes:
        status: the status it shows; None before the first.
    """

    __slots__ = ("_name", "client", "status")

    def __init__(self, name: str, group: ClientGroup, backoff: Backoff) -> None:
        self._name = name
        self.status: str | None = None
        self.client = Client(name, group, lambda: None, self._on_frame, backoff)

    def _on_frame(self, frame: bytes) -> None:
        status = status_of(frame)
        if status is None:
            log.warning("status-unknown", "%(widget)s: not a chargingStatus: %(frame).200r", widget=self._name, frame=frame)
        else:
            self.status = status
            log.debug("status-shown", "%(widget)s: %(status)s", widget=self._name, status=status)


class SimulatedChargers:
    """A service: chargers and widgets that connect to the charger adapter whenever it is reachable.

    Args:
        fleet: the booths to simulate.
        endpoints: the servers for chargers and for widgets.
        time_scale: plant seconds per wall second, above 0.
        backoff: delays before reconnecting.
        at: the instant of plant time for `now_s`.
    """

    def __init__(
        self,
        fleet: Fleet,
        endpoints: tuple[Endpoint, Endpoint],
        time_scale: float = 1.0,
        backoff: Backoff | None = None,
        at: Callable[[float], datetime] = _today,
    ) -> None:
        self._at = at
        self._fleet, self._endpoints, self._time_scale = fleet, endpoints, time_scale
        self._backoff = backoff or Backoff()
        self._widgets: dict[str, Widget] = {}

    def past(self, now_s: float, days: int) -> list[Publication]:
        """Return the charging sessions of the days before `now_s`, in the order of their ends."""
        until_at = self._at(now_s)
        pairs = [*self._fleet.pairs().items()][:MOST_DEVICES]
        sessions = [
            (end_at, charger, session)
            for charger, widget in pairs
            for end_at, session in past_sessions(charger, widget, self._fleet.seed, until_at, days)
        ]
        sessions.sort(key=lambda each: each[0])
        return [replace(SESSION.publication(each, id=charger), history_at=end_at) for end_at, charger, each in sessions]

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """Return nothing: chargers and widgets are not on the bus."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: chargers and widgets are not on the bus."""
        return []

    def statuses(self) -> dict[str, str | None]:
        """Return the status that each widget shows."""
        return {name: each.status for name, each in self._widgets.items()}

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Simulate until cancelled, whether the adapter is reachable or not."""
        for_chargers, for_widgets = (ClientGroup(each, self._fleet.chargers) for each in self._endpoints)
        pairs, now_s = self._fleet.pairs(), bus.now_s()
        chargers = [Charger(name, self._fleet, for_chargers, self._backoff, now_s) for name in pairs]
        self._widgets = {name: Widget(name, for_widgets, self._backoff) for name in pairs.values()}
        clients = [*(each.client for each in self._widgets.values()), *(each.client for each in chargers)]
        work = [self._pass_time(chargers, bus), *(each.run() for each in clients)]
        tasks = [asyncio.create_task(each) for each in work]
        working(True)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_time(self, chargers: list[Charger], bus: Bus) -> None:
        """Advance each charger whenever something is due for it."""
        now_s = bus.now_s()
        due = [(charger.advance(now_s), number) for number, charger in enumerate(chargers)]
        heapq.heapify(due)
        while True:
            now_s = bus.now_s()
            while due[0][0] <= now_s:
                number = due[0][1]
                heapq.heapreplace(due, (chargers[number].advance(now_s), number))
            await asyncio.sleep(max(SHORTEST_SLEEP_S, (due[0][0] - now_s) / self._time_scale))


def _ignore(_frame: bytes) -> None:
    """Do nothing: chargers receive no messages."""
