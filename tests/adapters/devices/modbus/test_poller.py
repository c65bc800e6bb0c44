"""The poller against pymodbus' own server."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.devices import poller
from adapters.devices.declarations import read_file
from adapters.devices.declared import Declared
from adapters.devices.modbus.cells import Polled
from adapters.devices.poller import Poller
from tests.real_broker import free_ports

pytestmark = pytest.mark.integration

HOLDING = {100: 215, 101: 0xFFFF, 102: 1, 200: 0x4640, 201: 0xE400}
"""21.5 °C as 215 and 10^-1, a status, and 12345.0 kWh as float32."""


@dataclass
class Plant:
    """A Modbus server with the units 1 and 2, and what came of polling it."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    connections: int = 0
    polled: dict[str, list[Polled]] = field(default_factory=dict)
    server: ModbusTcpServer | None = None

    async def start(self) -> None:
        bits = [SimData(0, values=[False] * 8, datatype=DataType.BITS)]
        cells = [SimData(address, values=[value], datatype=DataType.REGISTERS) for address, value in HOLDING.items()]
        inputs = [SimData(40, values=[7], datatype=DataType.REGISTERS)]
        units = [SimDevice(id=unit, simdata=(bits, bits, cells, inputs)) for unit in (1, 2)]
        self.server = ModbusTcpServer(
            units, address=("127.0.0.1", self.port), trace_pdu=self._note, trace_connect=self._note_connection
        )
        await self.server.serve_forever(background=True)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.shutdown()
            self.server = None

    def _note(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending and isinstance(pdu, ReadHoldingRegistersRequest | ReadInputRegistersRequest):
            self.requests.append(("input" if isinstance(pdu, ReadInputRegistersRequest) else "holding", pdu.address, pdu.count))
        return pdu

    def _note_connection(self, connected: bool) -> None:
        self.connections += connected

    def take(self, declared: Declared, polled: Polled) -> None:
        self.polled.setdefault(declared.id, []).append(polled)

    def declared(self, text: str) -> tuple[Declared, ...]:
        return read_file("plant.toml", text.replace("PLANT", f"127.0.0.1:{self.port}"))

    async def last(self, name: str, wanted: Callable[[Polled], bool]) -> Polled:
        async with asyncio.timeout(10):
            while not (self.polled.get(name) and wanted(self.polled[name][-1])):
                await asyncio.sleep(0.02)
        return self.polled[name][-1]


PUMP = """
[machine.pump]
modbus  = "PLANT"
every   = "200ms"
machine = 12
value.temperature = { address = 100, type = "int16", scale_from = 101 }
value.status      = { address = 102, type = "uint16", map = { 1 = "STARTED" } }
"""
METER = """
[meter.heatpump]
modbus   = "PLANT"
every    = "200ms"
ship     = 9
register = { address = 200, type = "float32" }
unit     = "kWh"
[sensor.hall]
modbus  = "PLANT"
unit_id = 2
every   = "200ms"
room    = "hall"
value   = { address = 40, table = "input", type = "uint16" }
"""


@asynccontextmanager
async def polling(plant: Plant, text: str) -> AsyncIterator[Poller]:
    made = Poller(plant.take)
    made.use(plant.declared(text))
    try:
        yield made
        made.check()
    finally:
        await made.close()
        await plant.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_devices_of_one_server_share_a_connection() -> None:
    plant = Plant()

    async def test() -> None:
        await plant.start()
        async with polling(plant, PUMP + METER):
            for _ in range(3):
                plant.polled.clear()
                pump = await plant.last("machine.pump", lambda polled: polled.is_online)
                meter = await plant.last("meter.heatpump", lambda polled: polled.is_online)
                hall = await plant.last("sensor.hall", lambda polled: polled.is_online)
        assert (pump.values, pump.registers) == (
            {"temperature": 21.5, "status": 1},
            {"holding": {100: 215, 101: 65535, 102: 1}},
        )
        assert (meter.values, hall.values) == ({"value": 12345.0}, {"value": 7})

    run(test)
    assert plant.connections == 1
    assert set(plant.requests) == {("holding", 100, 3), ("holding", 200, 2), ("input", 40, 1)}


def test_a_register_that_is_not_there_spoils_no_other() -> None:
    plant = Plant()
    wrong = '[sensor.cellar]\nmodbus = "PLANT"\nevery = "200ms"\nroom = "cellar"\nvalue = { address = 103, type = "int16" }\n'

    async def test() -> None:
        await plant.start()
        async with polling(plant, PUMP + wrong):
            for _ in range(2):
                plant.polled.clear()
                pump = await plant.last("machine.pump", lambda polled: polled.error is None)
                cellar = await plant.last("sensor.cellar", lambda polled: True)
        assert pump.values["temperature"] == 21.5
        assert (cellar.error, cellar.is_online) == ("holding 103: illegal data address", True)

    run(test)
    assert plant.requests.count(("holding", 100, 4)) == 1  # from then on they are read apart


def test_a_server_that_goes_and_comes_back() -> None:
    plant = Plant()

    async def test() -> None:
        async with polling(plant, PUMP):
            lost = await plant.last("machine.pump", lambda polled: not polled.is_online)
            assert lost.error == f"127.0.0.1:{plant.port} cannot be reached"
            await plant.start()
            await plant.last("machine.pump", lambda polled: polled.is_online)
            await plant.stop()
            await plant.last("machine.pump", lambda polled: not polled.is_online)
            await plant.start()
            await plant.last("machine.pump", lambda polled: polled.is_online)

    run(test)


def test_changed_declarations_are_polled_at_once() -> None:
    plant = Plant()

    async def test() -> None:
        await plant.start()
        async with polling(plant, PUMP) as made:
            await plant.last("machine.pump", lambda polled: polled.is_online)
            made.use(plant.declared(METER))
            await plant.last("meter.heatpump", lambda polled: polled.is_online)
            count = len(plant.polled["machine.pump"])
            await asyncio.sleep(0.3)
            assert len(plant.polled["machine.pump"]) == count
            made.use([])

    run(test)


def test_a_silent_unit_rests_while_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    monkeypatch.setattr(poller, "TIMEOUT_S", 0.1)
    asked: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the poller has left
            while True:
                request = await reader.readexactly(12)
                asked.append(request[6])
                if request[6] == 2:
                    writer.write(request[:4] + b"\0\5" + request[6:8] + b"\2\0\7")
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", plant.port)
        async with server, polling(plant, PUMP + METER):
            pump = await plant.last("machine.pump", lambda polled: not polled.is_online)
            assert pump.error == "unit 1: does not answer"
            await plant.last("sensor.hall", lambda polled: len(plant.polled["sensor.hall"]) >= 6)

    run(test)
    assert asked.count(1) < asked.count(2)


def test_bytes_that_are_no_modbus_end_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    plant, order = Plant(), random.Random(5)
    for name in ("TIMEOUT_S", "LONGEST_RETRY_S", "LONGEST_REST_S"):
        monkeypatch.setattr(poller, name, 0.02)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                good = request[:4] + b"\0\x09" + request[6:8] + b"\6\0\1\0\2\0\3"
                wrong = bytearray(good)
                for _ in range(2):
                    wrong[order.randrange(len(wrong))] = order.randrange(256)
                cut = good[: order.randrange(len(good))]
                writer.write(order.choice([good, bytes(wrong), cut, good + good, order.randbytes(order.randrange(40))]))
                if order.random() < 0.1:
                    break
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", plant.port)
        async with server, polling(plant, PUMP.replace("200ms", "100ms")):
            async with asyncio.timeout(20):
                while len(plant.polled.get("machine.pump", ())) < 20:
                    await asyncio.sleep(0.05)
            await plant.last("machine.pump", lambda polled: polled.error is None)

    run(test)
    assert "Traceback" not in caplog.text


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed: apt-get install mbpoll")
def test_what_mbpoll_writes_is_read() -> None:
    plant = Plant()

    async def test() -> None:
        await plant.start()
        async with polling(plant, METER):
            await plant.last("meter.heatpump", lambda polled: polled.is_online)
            command = ("mbpoll", "-m", "tcp", "-p", str(plant.port), "-a", "1", "-0", "-r", "200", "-t", "4:float", "-B")
            written = await asyncio.create_subprocess_exec(
                *command, "127.0.0.1", "--", "54321.5", stdout=asyncio.subprocess.DEVNULL
            )
            assert await written.wait() == 0
            await plant.last("meter.heatpump", lambda polled: polled.values.get("value") == 54321.5)

    run(test)
