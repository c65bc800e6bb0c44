"""The adapter with a tool on a socket, and with a recorder that knows what is on a fake bus."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.torque import open_protocol_gateway, recording
from adapters.torque.component import TorqueAdapter
from adapters.torque.configuration import TorqueDriver
from adapters.torque.declaration import RECORDED_TOPIC, RECORDER_TOPIC
from adapters.torque.link import STOPPED
from broker import exchange
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.storage.topics import JSON, QueryEnd
from broker.message import Message, Publication, encode
from tests.adapters.torque.fakes import TIMEOUT_S, FakeBus, RunningAdapter
from tests.adapters.torque.tool_model import ToolModel

FORWARD_13 = b'{"type":"setTorque","data":{"direction":"forward","value":13}}'
ONLINE = encode(ComponentState(Presence.ONLINE, "b", "v"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_protocol_gateway, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(open_protocol_gateway, "LONGEST_BACKOFF_S", 0.02)
    monkeypatch.setattr(open_protocol_gateway, "NOTICE_S", 0.05)
    monkeypatch.setattr(recording, "PAUSE_S", 0.01)


class RecordedBus(FakeBus):
    """Answers queries from what is published on it, less what the broker lost."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter: TorqueAdapter | None = None
        self.lost = 0
        """Number of events, from now on, that the recorder does not get."""
        self.queries = 0
        self._recorded: list[bytes] = []

    def publish(self, publication: Publication) -> None:
        if publication.topic.endswith("/event") and b'"tighteningId":' in publication.payload:
            if self.lost:
                self.lost -= 1
            else:
                self._recorded.append(publication.payload)
        super().publish(publication)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        self.queries += 1
        asyncio.get_running_loop().call_soon(self._answer, publication)

    def _answer(self, query: Publication) -> None:
        wanted = msgspec.json.decode(query.payload)["parameters"]
        if "digests" in wanted:
            digests = {hashlib.md5(each).hexdigest() for each in self._recorded}
            rows: list[dict[str, Any]] = [{"digest": each} for each in digests if each in wanted["digests"]]
        else:
            facts = [msgspec.json.decode(each)["data"] for each in self._recorded]
            rows = [{"id": each["tighteningId"], "at": each["time"]} for each in facts]
        asked = Message(
            topic=query.topic, payload=b"", response_topic=query.response_topic, correlation_data=query.correlation_data
        )
        end = encode(QueryEnd(rows=len(rows), chunks=1, elapsed_s=0.1, columns=["a"], truncated=False, error=None))
        for each in (exchange.part(asked, 1, encode(rows), JSON), exchange.final(asked, 1, end, JSON)):
            message = Message(
                topic=RECORDED_TOPIC, payload=each.payload, correlation_data=each.correlation_data, properties=each.properties
            )
            if self.adapter is not None:
                self.adapter.on_message(message, 0.0)


class Tool:
    """A tool model on a socket."""

    def __init__(self, model: ToolModel) -> None:
        self.model, self.port = model, 0
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for each in self.writers:
            each.close()
        self.writers.clear()

    def send(self, data: bytes) -> None:
        self.writers[-1].write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.model.connect()
        while data := await reader.read(65536):
            writer.write(self.model.receive(data))
        writer.close()


class Running(RunningAdapter):
    def __init__(self, url: str, bus: RecordedBus) -> None:
        self.recorded = self.bus = bus
        self.adapter = bus.adapter = TorqueAdapter([TorqueDriver("driver-1", url)])
        self.working: list[bool] = []
        self._task = asyncio.create_task(self.adapter.serve(self.bus, self.working.append))

    def recorder(self, online: bool) -> None:
        payload = ONLINE if online else encode(ComponentState(Presence.OFFLINE, "b", "v"))
        self.adapter.on_message(Message(topic=RECORDER_TOPIC, payload=payload), 0.0)

    def ids(self) -> list[int]:
        events = [msgspec.json.decode(each) for each in self.bus.events()]
        return [each["data"]["tighteningId"] for each in events if each["type"] == "operation"]


@asynccontextmanager
async def tool_and_adapter(model: ToolModel, online: bool = True) -> AsyncIterator[tuple[Tool, Running]]:
    tool = Tool(model)
    await tool.start()
    running = Running(f"openprotocol://127.0.0.1:{tool.port}", RecordedBus())
    try:
        if online:
            running.recorder(True)
            await running.bus.until(lambda: running.bus.errors() == [None])
        yield tool, running
    finally:
        await running.stop()
        await tool.stop()


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_command_a_result_and_its_acknowledgement() -> None:
    async def scenario() -> None:
        async with tool_and_adapter(ToolModel()) as (tool, running):
            running.command(FORWARD_13, b"job/1")
            await eventually(lambda: tool.model.of(43))
            tool.send(tool.model.fasten(1312))
            await eventually(lambda: tool.model.acknowledged == [1])
            assert running.ids() == [1]
            assert running.bus.correlations()[-1] == b"job/1"
            assert running.working == [True]
        assert running.bus.errors() == [None, STOPPED]
        await eventually(lambda: tool.model.of(3))

    asyncio.run(scenario())


def test_no_acknowledgement_while_the_recorder_is_away() -> None:
    async def scenario() -> None:
        async with tool_and_adapter(ToolModel()) as (tool, running):
            running.recorder(False)
            tool.send(tool.model.fasten(1312))
            await running.bus.until(lambda: running.ids() == [1])
            queries = running.recorded.queries
            tool.cut()
            await running.bus.until(lambda: running.bus.errors()[-2:] == ["closed by the tool", None])
            assert (tool.model.acknowledged, running.recorded.queries) == ([], queries)
            tool.model.fasten(1313)  # comes while the watch waits for the recorder
            running.recorder(True)
            await eventually(lambda: tool.model.acknowledged == [1, 2])
            assert running.ids() == [1, 2]

    asyncio.run(scenario())


def test_a_result_that_the_broker_lost_is_published_again() -> None:
    async def scenario() -> None:
        async with tool_and_adapter(ToolModel()) as (tool, running):
            running.recorded.lost = 1
            tool.send(tool.model.fasten(1312))
            await eventually(lambda: tool.model.acknowledged == [1])
            first, second = (each for each in running.bus.events() if b'"operation"' in each)
            assert first == second

    asyncio.run(scenario())


def test_a_tool_waits_for_the_recorder_and_says_so() -> None:
    async def scenario() -> None:
        async with tool_and_adapter(ToolModel(), online=False) as (tool, running):
            await running.bus.until(lambda: running.bus.errors())
            assert running.bus.errors() == [open_protocol_gateway.WAITING]
            assert tool.model.requests == []
            running.recorder(True)
            await running.bus.until(lambda: running.bus.errors()[-1] is None)

    asyncio.run(scenario())


def test_a_command_without_a_connection_is_dropped() -> None:
    async def scenario() -> None:
        async with tool_and_adapter(ToolModel(), online=False) as (tool, running):
            running.command(FORWARD_13)
            running.recorder(True)
            await running.bus.until(lambda: running.bus.errors()[-1:] == [None])
            assert tool.model.of(18) == []

    asyncio.run(scenario())


def test_a_host_that_cannot_be_a_name_is_reported() -> None:
    async def scenario() -> None:
        running = Running(f"openprotocol://{'a' * 70}.example", RecordedBus())
        running.recorder(True)
        await running.bus.until(running.bus.errors)
        assert "cannot connect" in (running.bus.errors()[0] or "")
        await running.stop()

    asyncio.run(scenario())


def test_why_a_tool_cannot_be_reached() -> None:
    async def refused() -> None:
        tool = Tool(ToolModel(refusals={1: 96}))
        await tool.start()
        running = Running(f"openprotocol://127.0.0.1:{tool.port}", RecordedBus())
        running.recorder(True)
        await running.bus.until(running.bus.errors)
        assert running.bus.errors()[0] == "the tool refuses the communication: error 96, another client is connected"
        await tool.stop()
        await running.bus.until(lambda: running.bus.errors()[-1] == "connection refused")
        await running.stop()

    asyncio.run(refused())
