"""Every client of a request/response exchange, given replies of which messages were lost, repeated, reordered or cut off.

Each client must end with the whole, right answer or with an error. A reply whose messages are merely repeated is whole.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.systems.energy.posting import Poster
from adapters.cli.systems.fastening.requests import DriverRequests
from adapters.client.energy.files import FilePost
from adapters.client.errors import ClientError
from adapters.client.follow import HistoryEnd, follow
from adapters.client.history import COLUMNS
from adapters.client.history import History as MessageHistory
from adapters.client.recorder import Recorder
from adapters.client.rows import ArrowRows
from adapters.energy_api.component import EnergyApi
from adapters.home_assistant.totals import Totals
from adapters.listening import Listening
from broker import exchange
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.energy.topics import Stored
from broker.contract.fastening.topics import Action as FasteningAction
from broker.contract.fastening.topics import FasteningAnswer
from broker.contract.storage.topics import (
    ARROW,
    JSON,
    Action,
    Progress,
    QueryEnd,
    QueryRequest,
    RequestEnd,
    StorageRequest,
)
from broker.errors import Rejected
from broker.message import Message, Publication, encode
from controllers.energy.history import History
from controllers.moving_average.warm_start import WarmStart
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder, FakeSession
from tests.adapters.http.fakes import FakeBus as FakeRuntimeBus
from tests.adapters.http.fakes import call

ERROR = "an error"
STRAY = -1
LATE_S = 1_000.0
REQUEST = QueryRequest(sql="SELECT 1")


@dataclass(frozen=True)
class Case:
    """A reply of some parts and a final message, and the order in which its messages arrive.

    `order` has indices of messages: 0 is the first part, `parts` the final message, and `STRAY` the reply to another request.
    `truncated`: the recorder cut the answer at a limit on rows.
    """

    parts: int
    order: tuple[int, ...]
    truncated: bool = False

    @property
    def is_whole(self) -> bool:
        """Every message arrives, and in order where repetitions are left out."""
        return [each for each in dict.fromkeys(self.order) if each != STRAY] == list(range(self.parts + 1))

    def arrivals(self, request: Message, parts: list[bytes], end: bytes, content_type: str = JSON) -> list[Publication]:
        """The messages of the reply that arrive."""
        messages = [exchange.part(request, n, payload, content_type) for n, payload in enumerate(parts, 1)]
        messages.append(exchange.final(request, len(parts), end, JSON))
        messages.append(replace(messages[-1], correlation_data=b"another request", payload=b"another reply"))
        return [messages[index] for index in self.order]

    def check(self, outcome: object, answer: object) -> None:
        """Check what a client made of the reply."""
        assert outcome == (answer if self.is_whole and not self.truncated else ERROR)


@st.composite
def cases(draw: st.DrawFn, most_parts: int = 4) -> Case:
    parts = draw(st.integers(0, most_parts))
    order = list(range(parts + 1))
    for change in draw(st.lists(st.sampled_from(["drop", "double", "move", "cut off", "stray"]), max_size=3)):
        if not order:
            break
        index = draw(st.integers(0, len(order) - 1))
        if change == "cut off":
            del order[index:]
        elif change == "stray":
            order.insert(index, STRAY)
        elif change == "double":
            order.insert(draw(st.integers(0, len(order))), order[index])
        else:
            moved = order.pop(index)
            if change == "move":
                order.insert(draw(st.integers(0, len(order))), moved)
    return Case(parts, tuple(order), truncated=draw(st.booleans()))


def received(publication: Publication) -> Message:
    return Message(
        topic=publication.topic,
        payload=publication.payload,
        response_topic=publication.response_topic,
        correlation_data=publication.correlation_data,
        content_type=publication.content_type,
        properties=publication.properties,
    )


def query_end(case: Case, columns: tuple[str, ...] = ("n",)) -> bytes:
    return encode(QueryEnd(case.parts, case.parts, 0.1, list(columns), case.truncated, None))


def answered(case: Case, request: Message, rows: list[dict[str, Any]], content_type: str = JSON) -> list[Publication]:
    """The arrivals of an answer to a query, with one row in each part."""
    parts = [encode([row]) if content_type == JSON else arrow(row) for row in rows]
    return case.arrivals(request, parts, query_end(case), content_type)


def arrow(row: dict[str, Any]) -> bytes:
    table = pa.Table.from_pylist([row])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def numbered(case: Case) -> list[dict[str, Any]]:
    return [{"n": n} for n in range(case.parts)]


@dataclass
class ReplyingBus(FakeBus):
    """A connection of a blocking client: `reply` makes what arrives after a request."""

    reply: Callable[[Message], list[Publication]] = field(default=lambda _request: [])

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        request = received(publication)
        self.deliver(publication.topic, publication.payload, publication.correlation_data)
        for each in self.reply(request):
            self.deliver(each.topic, each.payload, each.correlation_data, each.content_type, each.properties)
        return True


def connected(reply: Callable[[Message], list[Publication]]) -> ReplyingBus:
    bus = ReplyingBus(FakeRecorder(), reply=reply)
    for component in ("recorder", "energy"):
        bus.retain(f"components/{component}/state", '{"state":"online","boot":"b","version":"1"}')
    return bus


def outcome_of(run: Callable[[], object]) -> object:
    try:
        return run()
    except ClientError:
        return ERROR


@given(cases())
def test_query_of_the_command_line(case: Case) -> None:
    bus = connected(lambda request: answered(case, request, numbered(case), ARROW))

    def run() -> object:
        answer = Recorder(bus).query(REQUEST)
        rows = [row[0] for row in answer.rows.rows()]
        return ERROR if answer.truncated else rows

    case.check(outcome_of(run), list(range(case.parts)))


@given(cases())
def test_short_query_of_the_command_line(case: Case) -> None:
    bus = connected(lambda request: answered(case, request, numbered(case)))
    case.check(outcome_of(lambda: Recorder(bus).rows(REQUEST, 1.0)), numbered(case))


@given(cases())
def test_follow(case: Case) -> None:
    """After a truncated answer it asks for the rest, of which there is none here."""
    row = {**dict.fromkeys(COLUMNS), "received_at": START_AT}

    def reply(request: Message) -> list[Publication]:
        first = len(requests) == 0
        requests.append(request)
        if first:
            return answered(case, request, [{**row, "seq": n, "number": n + 1} for n in range(case.parts)], ARROW)
        return answered(Case(0, (0,)), request, [])

    requests: list[Message] = []
    bus = connected(reply)

    def run() -> object:
        found: list[int] = []
        for event in follow(bus, MessageHistory(topic_filter="/readings/#")):
            if isinstance(event, HistoryEnd):
                return found
            assert isinstance(event, ArrowRows)
            found += [values[COLUMNS.index("seq")] for values in event.rows()]
        return ERROR

    replace(case, truncated=False).check(outcome_of(run), list(range(case.parts)))


@given(cases().filter(lambda case: not case.truncated))
def test_request_to_the_storage(case: Case) -> None:
    reports = [encode(Progress("moving", n, case.parts)) for n in range(case.parts)]
    bus = connected(lambda request: case.arrivals(request, reports, encode(RequestEnd("archived"))))
    request = StorageRequest(Action.ARCHIVE)
    outcome = outcome_of(lambda: FakeSession(bus).carry_out(request, lambda _progress: None))
    case.check(outcome, "archived")


@given(cases(most_parts=0).filter(lambda case: not case.truncated))
def test_request_to_the_fastening_controller(case: Case) -> None:
    answer = FasteningAnswer(job=None, error=None)

    def reply(request: Message) -> list[Publication]:
        return [unmarked(each) for each in case.arrivals(request, [], encode(answer))]

    bus = connected(reply)
    requests = DriverRequests(bus, "driver-1", "console", clock=iter(range(1_000)).__next__)
    requests.subscribe()
    case.check(outcome_of(lambda: requests.request(FasteningAction.PAUSE) or ERROR), answer)


@given(cases(most_parts=0).filter(lambda case: not case.truncated))
def test_posting_of_energy(case: Case) -> None:
    stored = Stored(1, 2)

    def reply(request: Message) -> list[Publication]:
        return [unmarked(each) for each in case.arrivals(request, [], encode(stored))]

    poster = Poster(connected(reply))
    post = FilePost(Path("a.csv"), ship=1, units="kW", data=[])
    case.check(outcome_of(lambda: poster.post(post)), stored)


def unmarked(publication: Publication) -> Publication:
    return replace(publication, properties=())


class ReplyingRuntimeBus(FakeRuntimeBus):
    """A bus of the energy API, on which the answer to a query arrives as the case has it."""

    def __init__(self, case: Case, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self._case, self._rows = case, rows
        self.api = EnergyApi(Listening(("127.0.0.1",), 8000, "PORT"))
        self.api._routes.bus = self
        self.api._routes._within_s = 0.01 if not case.is_whole else 5.0

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        await super().deliver(publication, timeout_s)
        for each in answered(self._case, received(publication), self._rows):
            self.api.on_message(received(each), 0.0)


@given(cases())
def test_quarters_of_the_energy_api(case: Case) -> None:
    rows = [{"quarters": f"|{2018 + n}-08-24T00:00:00Z=1!"} for n in range(case.parts)]

    async def run() -> object:
        bus = ReplyingRuntimeBus(case, rows)
        answer = await call(bus.api.app, "GET", "/data?spaceship_id=1&start=2018-01-01&end=2028-01-01")
        if answer.status == 503:
            assert answer.error
            return ERROR
        assert answer.status == 200
        return [row["datetime"] for row in json.loads(answer.body)["data"]]

    case.check(asyncio.run(run()), [f"{2018 + n}-08-24T00:00:00Z" for n in range(case.parts)])


@given(cases())
def test_history_of_the_energy_normalizer(case: Case) -> None:
    history = History(1.0, b"start")
    (request,) = history.request("1", 0.0)
    outcome: object = ERROR
    for each in answered(case, received(request), numbered(case)):
        try:
            found = history.take(received(each), 0.0)
        except Rejected:
            continue
        if found is not None:
            assert outcome == ERROR, "answered once"
            outcome = found.rows
    if outcome == ERROR:
        (repeated,) = history.tick(LATE_S)
        assert repeated.payload == request.payload
    case.check(outcome, numbered(case))


@given(cases())
def test_warm_start_of_the_moving_average(case: Case) -> None:
    warm_start = WarmStart(5, 1.0, b"start")
    (request,) = warm_start.on_recorder(ComponentState(Presence.ONLINE, "b", "1"), 0.0)
    machines: list[str] = []
    rows = [{"topic": f"machines/{n}/reading", "payloads": []} for n in range(case.parts)]
    for each in answered(case, received(request), rows):
        try:
            machines += [found.machine for found in warm_start.take(received(each), 0.0)]
        except Rejected:
            continue
    outcome = ERROR if warm_start.tick(LATE_S) else machines
    case.check(outcome, [str(n) for n in range(case.parts)])


@given(cases())
def test_totals_for_home_assistant(case: Case) -> None:
    totals = Totals(1.0, b"start")
    totals.on_change()
    (request,) = totals.tick(0.0)
    found: dict[str, float] = {}
    rows = [{"ship": str(n), "kwh": float(n)} for n in range(case.parts)]
    for each in answered(case, received(request), rows):
        try:
            found |= totals.take(received(each), 0.0)
        except Rejected:
            continue
    outcome = ERROR if totals.tick(LATE_S) else found
    case.check(outcome, {str(n): float(n) for n in range(case.parts)})
