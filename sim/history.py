"""The past of a simulation: what its devices would have sent before it began, so that there is something to look at.

The past is simulated history (`broker.stamp.HISTORY`): recorded, and ignored by components, except by those that turn it into
something of the past themselves. It is sent if the recorder is online and has recorded nothing of the kind, so only once.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from broker.contract.components.topics import STATE, Presence
from broker.contract.storage.answers import AnswerError, AnswerTruncated, end, query, rows
from broker.contract.storage.topics import ANSWER, QueryRequest
from broker.errors import BrokerUnavailable, InvalidSetting
from broker.exchange import Exchange, Part, ReplyError
from broker.log import Log
from broker.message import Message, Publication
from broker.runtime.component import Bus, Component, Service
from broker.runtime.settings import HISTORY_DAYS, Settings

log = Log(__name__)

MOST_DAYS = 31
MOST_DEVICES = 5
"""Machines, ships or chargers with a past: it is a few thousand messages at most, however many are simulated."""
RECORDER_TOPIC = STATE.template.topic(component="recorder")
PATIENCE_S = 10.0
"""Wall seconds for the recorder's first answer; then the simulation begins without a past."""
SETTLES_WITHIN_S = 5.0
LOOK_EVERY_S = 0.2


class Simulation(Component, Protocol):
    """A simulation that can make up its past."""

    def past(self, now_s: float, days: int) -> list[Publication]:
        """Return the messages of the days before `now_s`, in order, each with its `history_at`; called before any tick."""
        ...


@dataclass(frozen=True, slots=True)
class Queries:
    """Two queries that have a row if the answer is yes.

    `recorded`: is there anything of this kind in the recording? `settled`: is everything recorded that components make of the
    past? Empty where they make nothing of it.
    """

    recorded: str
    settled: str = ""


def answer_topic(component: str) -> str:
    """Return the topic of the recorder's answers to a simulator."""
    return ANSWER.template.topic(client=component)


def history_days(settings: Settings) -> int:
    """Return the days of history that are wanted.

    Raises:
        InvalidSetting: the setting is not a whole number of days in its limits.
    """
    text = settings.value(HISTORY_DAYS)
    if not text.isascii() or not text.isdigit() or int(text) > MOST_DAYS:
        raise InvalidSetting(f"{HISTORY_DAYS.name} must be a whole number from 0 to {MOST_DAYS}, not {text!r}")
    return int(text)


class WithPast:
    """A service: a simulation that sends its past before it begins.

    Args:
        simulation: the simulation.
        component: its name.
        queries: what to ask the recorder.
        days: days of history; 0 for none.
    """

    def __init__(self, simulation: Simulation, component: str, queries: Queries, days: int) -> None:
        self._simulation, self._queries, self._days = simulation, queries, days
        self._exchange = Exchange(answer_topic(component), secrets.token_bytes(8))
        self._recorder_online = self._found = self._begun = False
        self._answered = asyncio.Event()

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Take the recorder's presence or its answer, or a message for the simulation.

        Raises:
            Rejected: the message cannot be used.
        """
        if message.topic == RECORDER_TOPIC:
            self._recorder_online = STATE.decode(message).state is Presence.ONLINE
        elif message.topic == self._exchange.response_topic:
            self._take_answer(message)
        else:
            return self._simulation.on_message(message, now_s)
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        """Let plant time pass, once the past is sent."""
        return self._simulation.on_tick(now_s) if self._begun else []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Send the past, then simulate until cancelled."""
        if self._days and await _in_time(self._is_wanted(bus), PATIENCE_S, "the simulation begins without a past"):
            self._send_past(bus)
            if self._queries.settled:
                await _in_time(self._settle(bus), SETTLES_WITHIN_S, "the simulation begins before its past has settled")
        self._begun = True
        if isinstance(self._simulation, Service):
            await self._simulation.serve(bus, working)
            return
        working(True)
        await asyncio.Event().wait()

    async def _is_wanted(self, bus: Bus) -> bool:
        """Return whether the recorder is online and has recorded nothing of the kind."""
        while True:
            try:
                await bus.ping(PATIENCE_S)
                break
            except BrokerUnavailable:
                await asyncio.sleep(LOOK_EVERY_S)
        # Retained messages, the recorder's presence among them, have arrived before the answer to the ping.
        return self._recorder_online and not await self._ask(bus, self._queries.recorded)

    def _send_past(self, bus: Bus) -> None:
        past = self._simulation.past(bus.now_s(), self._days)
        for publication in past:
            bus.publish(publication)
        log.info(
            "history-sent",
            "sent %(messages)d messages of simulated history, %(days)d days",
            messages=len(past),
            days=self._days,
        )

    async def _settle(self, bus: Bus) -> bool:
        while True:
            if await self._ask(bus, self._queries.settled):
                return True
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ask(self, bus: Bus, sql: str) -> bool:
        self._found = False
        self._answered.clear()
        self._exchange.forget_all()
        bus.publish(self._exchange.request(query(QueryRequest(sql=sql))))
        await self._answered.wait()
        return self._found

    def _take_answer(self, message: Message) -> None:
        """Take a message of an answer; without a usable one nothing is sent, rather than a second past."""
        try:
            taken = self._exchange.take(message)
            if taken is None:
                return
            if isinstance(taken, Part):
                self._found |= bool(rows(taken))
                return
            end(taken)
        except (ReplyError, AnswerError, AnswerTruncated) as error:
            log.warning("history-unknown", "the recorder does not report whether there is a past: %(error)s", error=error)
            self._found = True
        self._answered.set()


async def _in_time(work: Awaitable[bool], limit_s: float, otherwise: str) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError:
        log.warning(
            "recorder-silent",
            "no answer of the recorder within %(limit_s)g s: %(consequence)s",
            limit_s=limit_s,
            consequence=otherwise,
        )
        return False
