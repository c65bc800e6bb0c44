"""A charging controller with the broker's retained messages around it, without sockets."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from broker.contract.charging.topics import (
    ANSWER,
    PAIRS,
    SESSION,
    STATE,
    STATUS,
    ChargerState,
    ChargingSession,
    Pairs,
    StatusEvent,
)
from broker.message import Message, Publication, decode
from broker.stamp import NO_STAMP, Stamp, rfc3339
from controllers.charging.component import ChargingController

START_AT = datetime(2026, 1, 31, 8, tzinfo=UTC)
PAIRS_OF_TESTS = {"c1": "w1", "c2": "w2", "c3": "w3"}
ADAPTER = "charger-adapter"


def calendar(now_s: float) -> datetime:
    return START_AT + timedelta(seconds=now_s)


def at(now_s: float) -> str:
    return rfc3339(calendar(now_s))


def soc_message(soc: object, charger: str = "c1", stamp: Stamp = NO_STAMP) -> Message:
    payload = orjson.dumps({"event": "StateOfCharge", "data": {"soc": soc}})
    return Message(topic=f"chargers/{charger}/soc", payload=payload, stamp=stamp)


class Killed(Exception):
    """The controller was killed."""


@dataclass
class World:
    """Records what the controller publishes; `restart` starts a new controller, which gets the retained messages."""

    pairs: dict[str, str] = field(default_factory=lambda: dict(PAIRS_OF_TESTS))
    time_scale: float = 1.0
    now_s: float = 0.0
    polled: Pairs | None = None
    retained: dict[str, tuple[bytes, Stamp]] = field(default_factory=dict)
    published: list[Publication] = field(default_factory=list)
    statuses: list[tuple[str, str]] = field(default_factory=list)
    sessions: list[ChargingSession] = field(default_factory=list)
    boots: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    survive: int | None = None
    """Publications that still reach the broker before the controller is killed."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.controller = ChargingController(Pairs(dict(self.pairs)), self, calendar, self.time_scale)

    def poll(self) -> Pairs | None:
        polled, self.polled = self.polled, None
        return polled

    def change(self, edit: Callable[[Mapping[str, str]], dict[str, str]]) -> Pairs:
        self.pairs = edit(self.pairs)
        return Pairs(self.pairs)

    def restart(self, after_s: float = 1.0, order: int = 1) -> None:
        self.survive = None
        self.start()
        self.now_s += after_s
        for topic, (payload, stamp) in sorted(self.retained.items())[::order]:
            if not topic.startswith(("widgets/", PAIRS.template.text)):
                self.receive(Message(topic=topic, payload=payload, retain=True, stamp=stamp))

    def receive(self, message: Message) -> list[str]:
        return self.take(self.controller.on_message(message, self.now_s))

    def take(self, publications: list[Publication]) -> list[str]:
        """Record publications, and return each in short: its kind and its value."""
        shown = []
        for each in publications:
            if self.survive is not None:
                if self.survive == 0:
                    raise Killed
                self.survive -= 1
            self.published.append(each)
            shown.append(self._keep(each))
        return shown

    def _keep(self, each: Publication) -> str:
        if each.retain:
            self.retained[each.topic] = each.payload, NO_STAMP
        if levels := STATUS.parse(each.topic):
            status = decode(each.payload, StatusEvent).data.status.value
            self.statuses.append((levels["id"], status))
            return f"{levels['id']} {status}"
        if SESSION.parse(each.topic):
            session = decode(each.payload, ChargingSession)
            self.sessions.append(session)
            return f"session {session.ended_by.value if session.ended_by else 'begun'}"
        if STATE.parse(each.topic):
            return f"state {decode(each.payload, ChargerState).state}"
        if ANSWER.parse(each.topic):
            return f"answer {each.payload.decode()}"
        return "pairs"

    def stamp(self, source: str = ADAPTER) -> Stamp:
        return Stamp(source, self.boots.get(source, "boot-1"), next(self._numbers), calendar(self.now_s))

    def soc(self, soc: object, charger: str = "c1", after_s: float = 10.0) -> list[str]:
        self.now_s += after_s
        return self.receive(soc_message(soc, charger, self.stamp()))

    def link(
        self, connected: bool = True, charger: str = "c1", connection: str = "a", adapter: str = ADAPTER, stamped: bool = True
    ) -> list[str]:
        link = {"connected": connected, "adapter": adapter, "connection": connection, "address": "127.0.0.1"}
        stamp = Stamp(adapter, self.boots.get(adapter, "boot-1"), next(self._numbers)) if stamped else NO_STAMP
        return self._retained(f"chargers/{charger}/link", link, stamp)

    def adapter(self, state: str, boot: str | None = None, adapter: str = ADAPTER) -> list[str]:
        if boot is not None:
            self.boots[adapter] = boot
        presence = {"state": state, "boot": self.boots.get(adapter, "boot-1"), "version": "1"}
        return self._retained(f"components/{adapter}/state", presence, NO_STAMP)

    def _retained(self, topic: str, value: object, stamp: Stamp) -> list[str]:
        payload = orjson.dumps(value)
        self.retained[topic] = payload, stamp
        return self.receive(Message(topic=topic, payload=payload, stamp=stamp))

    def tick(self, after_s: float = 0.5) -> list[str]:
        self.now_s += after_s
        return self.take(self.controller.on_tick(self.now_s))

    def reload(self, pairs: dict[str, str]) -> list[str]:
        self.pairs, self.polled = pairs, Pairs(pairs)
        return self.tick()

    def request(self, answer_to: str | None = "charging/answer/cli", retain: bool = False, **fields: object) -> list[str]:
        payload = orjson.dumps(fields)
        return self.receive(
            Message(topic="charging/request", payload=payload, response_topic=answer_to, correlation_data=b"1", retain=retain)
        )

    def state(self, charger: str = "c1") -> ChargerState:
        return decode(self.retained[f"chargers/{charger}/state"][0], ChargerState)

    def shown(self, widget: str = "w1") -> str | None:
        """Return the last status published for a widget."""
        return next((status for name, status in reversed(self.statuses) if name == widget), None)


def started(**given: object) -> World:
    """Return a world whose controller has published the pairs, and whose adapter is online."""
    world = World(**given)  # type: ignore[arg-type]
    world.adapter("online")
    assert world.tick() == ["pairs"]
    return world
