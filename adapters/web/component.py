"""The web component on the bus: it keeps what the system reports about itself, and answers requests from that."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from adapters.client.aio_recorder import RecorderClient
from adapters.client.answers import arrow_request
from adapters.client.errors import Unreachable
from adapters.client.rows import ArrowRows
from adapters.http.access import account_of
from adapters.http.app import application
from adapters.http.server import HttpServer, serve
from adapters.http.watch import BrokerWatch
from adapters.listening import Listening
from adapters.outside.authentication import may_query
from adapters.web.actions import Actions
from adapters.web.assets import Assets
from adapters.web.broker import BrokerFigures
from adapters.web.certificate import Certificate
from adapters.web.declaration import CLIENT, RECORDED_TOPIC
from adapters.web.document import DOCUMENT
from adapters.web.export import Exports
from adapters.web.form_login import PageLogin
from adapters.web.live import LiveTopics
from adapters.web.overview import SILENT_S, Overview
from adapters.web.page import TRY_AGAIN_LATER, Page, WrongRequest
from adapters.web.questions import LONGEST_SQL, MOST_ROWS, QUESTIONS, Sql, message_of
from adapters.web.routes import Routes
from adapters.web.sign_in import SignIns
from adapters.web.systems import systems
from adapters.web.tap import Tap, in_turns
from adapters.web.watch import Watch
from adapters.web.why import WhyOf, why
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.sql import Statement
from broker.contract.storage import questions
from broker.contract.storage.topics import QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication
from broker.runtime.component import Bus
from broker.runtime.settings import Settings, release

TIMEOUT_S, SQL_TIMEOUT_S = 20.0, 60.0
RECALLED_S = 24 * 3600.0
"""A page shows topics that had a message within this time."""
MOST_PAGES = 200
"""Open pages. Beyond them, one that shows nothing is closed for a new one."""
LOOK_EVERY_S, PING_TIMEOUT_S = 0.4, 1.2
"""While pages are open, how often the broker is pinged, and how long it has to answer: a page says within 2 s that it is
frozen."""
FULL = f"{MOST_PAGES} pages are open already: close one, then load this one again."


class Web:
    """A service: an HTTP server over what the system reports about itself.

    Args:
        listening: address and port of the server.
        tap: on the broker, for the pages that are open.
        sign_ins: of browsers.
        settings: components that are to run, and the place of the certificate.
    """

    def __init__(self, listening: Listening, tap: Tap, sign_ins: SignIns, settings: Settings | None = None) -> None:
        self._listening, self._tap, self._sign_ins = listening, tap, sign_ins
        own = ComponentState(Presence.ONLINE, "", release())
        self._overview = Overview((CLIENT, own), settings.components if settings else ())
        tap.recall = self._recall
        self._broker, self._systems = BrokerFigures(), systems()
        self._pages: dict[Page, None] = {}
        self._silence: asyncio.TimerHandle | None = None
        self._reported: list[str] = []
        self._looked_s = 0.0
        self._recorder, self._watch = RecorderClient(CLIENT), BrokerWatch(PING_TIMEOUT_S, on_change=tap.wake)
        self._recording = Watch(self._recorder)
        self._process = ProcessCollector(namespace="scaup_web", registry=CollectorRegistry(auto_describe=False))
        self._certificate = Certificate(settings)
        self._bus: Bus | None = None
        routes = Routes(self._overview, self._watch, self._certificate, self._figures, Assets())
        exports = Exports(self._query, self._query_arrow)
        authenticator = listening.authenticator
        self.app = application(
            [*routes.resources(), *Actions(sign_ins, authenticator).resources(), *exports.resources()],
            DOCUMENT,
            self._watch,
            listening.access,
            authenticator=authenticator,
            others=[WebSocketRoute("/live", self._live)],
            form=PageLogin(sign_ins, authenticator) if authenticator is not None else None,
        )

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        """Keep what a message reports.

        Raises:
            Rejected: it cannot be read.
        """
        for system in self._systems:
            if any(stream.parse(message.topic) for stream in system.streams):
                system.take(message, now_s)
                return []
        if message.topic == RECORDED_TOPIC:
            self._recorder.take(message)
        elif message.topic.startswith("$SYS/"):
            self._broker.take(message.topic, message.payload)
        elif not self._overview.take(message):
            raise Rejected(f"nothing is known about topic {message.topic!r}")
        elif self._pages:
            self._call_pages()
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: it publishes queries only."""
        return []

    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve until cancelled; requests that run then have 2 s to finish.

        Raises:
            CannotStart: the server cannot listen on the port; the text names the cause and the fix.
        """
        self._bus = bus
        looking = asyncio.create_task(self._recording.run(bus), name="watch")
        try:
            await serve(HttpServer(self.app, self._listening, websockets=True), self._watch, bus, working)
        finally:
            self._tap.stop()
            self._sign_ins.close()
            looking.cancel()
            await asyncio.wait({looking})
        if not looking.cancelled():
            looking.result()

    async def _live(self, socket: WebSocket) -> None:
        await socket.accept()
        if len(self._pages) >= MOST_PAGES:
            idle = next((each for each in self._pages if each.is_idle), None)
            if idle is None:
                await socket.close(TRY_AGAIN_LATER, FULL)
                return
            self._pages.pop(idle)
            idle.close(FULL)
        account = account_of(socket)
        ask = self._ask if account is None or may_query(account) else self._ask_without_sql
        page = Page(socket, self._tap, ask, self._past, self._interruptions)
        self._pages[page] = None
        try:
            await page.run()
        finally:
            self._pages.pop(page, None)

    def _call_pages(self) -> None:
        """Call the pages when the recorder is lost or back: at once, or when it has been silent for too long."""
        interruptions = self._overview.interruptions(datetime.now(UTC))
        if interruptions != self._reported:
            self._reported = interruptions
            self._tap.wake()
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(SILENT_S + 0.01, self._tap.wake)

    async def _past(self, at_s: float) -> LiveTopics:
        """Return all topics as of an instant.

        Raises:
            ClientError: the recorder cannot answer.
        """
        topics = LiveTopics()
        async for message, arrived_s in in_turns(await self._last(at_s, 0.0)):
            topics.take(message, arrived_s)
        return topics

    async def _recall(self) -> Iterable[tuple[Message, float]]:
        """Return the last message of each topic of the last day.

        Raises:
            ClientError: the recorder cannot answer.
        """
        now_s = time.time()
        return await self._last(now_s, now_s - RECALLED_S)

    async def _last(self, at_s: float, since_s: float) -> Iterable[tuple[Message, float]]:
        if self._bus is None:
            return ()
        rows = await self._query(questions.as_of(["#"], at_s, since_s))
        return ((message_of(row), row["at_s"]) for row in rows)

    def _interruptions(self) -> list[str]:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s > LOOK_EVERY_S:
            self._looked_s = now_s
            self._watch.look()
        if not self._watch.answers or self._tap.is_lost():
            return ["The broker cannot be reached: what happens now is not seen here."]
        return self._overview.interruptions(datetime.now(UTC))

    async def _ask_without_sql(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if name == "sql":
            raise WrongRequest("viewers may not query in SQL: log in as an operator")
        return await self._ask(name, parameters)

    async def _ask(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of a page.

        Raises:
            WrongRequest: there is no such question, or its parameters are wrong.
            ClientError: the recorder cannot answer.
        """
        if self._bus is None:
            raise WrongRequest("the server is starting")
        try:
            if name == "sql":
                return await self._sql(self._bus, msgspec.convert(parameters, Sql))
            if name == "why":
                return await why(msgspec.convert(parameters, WhyOf), self._query)
            if name == "broker":
                return {"rows": [self._broker.summary()]}
            question = QUESTIONS.get(name)
            if question is None:
                raise WrongRequest(f"there is no question {name[:100]!r}")
            statement = question.statement(msgspec.convert(parameters, question.parameters))
        except msgspec.ValidationError as error:
            raise WrongRequest(f"wrong parameters of {name!r}: {error}") from error
        return question.answer(await self._query(statement))

    async def _query(self, statement: Statement) -> list[dict[str, Any]]:
        """Return the rows of a statement.

        Raises:
            ClientError: the recorder cannot answer.
        """
        request = QueryRequest(sql=statement.sql, parameters=statement.parameters, timeout_s=TIMEOUT_S)
        return await self._recorder.query(self._started_bus(), request, TIMEOUT_S)

    async def _query_arrow(self, statement: Statement) -> ArrowRows:
        request = arrow_request(statement.sql, statement.parameters, timeout_s=TIMEOUT_S)
        return await self._recorder.query_arrow(self._started_bus(), request, TIMEOUT_S)

    def _started_bus(self) -> Bus:
        if self._bus is None:
            raise Unreachable("the server is starting")
        return self._bus

    async def _sql(self, bus: Bus, query: Sql) -> dict[str, Any]:
        if len(query.sql) > LONGEST_SQL:
            raise WrongRequest(f"the query is longer than {LONGEST_SQL} characters")
        most = max(1, min(query.rows, MOST_ROWS))
        request = QueryRequest(sql=query.sql, max_rows=most, timeout_s=SQL_TIMEOUT_S)
        answer = await self._recorder.query_some(bus, request, SQL_TIMEOUT_S)
        return {"columns": answer.columns, "rows": answer.rows, "truncated": answer.truncated}

    def _figures(self, broker_error: str | None, now_at: datetime) -> Iterator[Metric]:
        self._recording.read()
        now_s = self._bus.now_s() if self._bus is not None else 0.0
        yield from self._overview.metrics(broker_error, now_at)
        if broker_error is None:
            yield from self._broker.metrics()
        for system in self._systems:
            yield from system.metrics(now_s)
        yield from self._recording.recorded.metrics()
        yield from self._certificate.metrics(now_at)
        yield from self._process.collect()
