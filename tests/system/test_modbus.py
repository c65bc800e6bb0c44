"""A register over Modbus, from a real server to the quarters in the recording, with kills in between."""

import asyncio
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import RealBroker, free_ports
from tests.system.test_recorder import connected_to
from tests.system.test_sparkplug import Bus

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

INTERVALS, READING = "energy/9/interval", "machines/12/reading"
RECORDER = "components/recorder/state"
METER, PUMP = "devices/meter.heatpump/state", "devices/machine.pump/state"


class Plant:
    """A Modbus server in a thread, and a client that sets its registers."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(self._serve())
        self._client = ModbusTcpClient("127.0.0.1", port=self.port)
        assert self._client.connect()

    async def _serve(self) -> ModbusTcpServer:
        bits = [SimData(0, values=[False] * 8, datatype=DataType.BITS)]
        cells = [SimData(100, values=[215, 0xFFFF], datatype=DataType.REGISTERS)]
        cells.append(SimData(200, values=[0, 0], datatype=DataType.REGISTERS))
        server = ModbusTcpServer(SimDevice(id=1, simdata=(bits, bits, cells, cells)), address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        return server

    def _do(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def set_kwh(self, kwh: float) -> None:
        assert not self._client.write_registers(200, list(struct.unpack(">HH", struct.pack(">f", kwh)))).isError()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._client.close()
            self._do(self._server.shutdown())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()


class World:
    def __init__(self, broker: RealBroker, plant: Plant, bus: Bus) -> None:
        self.broker, self.plant, self.bus = broker, plant, bus
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str) -> None:
        with (self.broker.data_dir / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", module]
            self.processes[name] = subprocess.Popen(command, env=self.broker.environment, cwd=ROOT, stderr=log)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(10)

    def kwh(self) -> float:
        """Return the energy of all quarters, as published last."""
        quarters = {
            row["datetime"]: row.get("value") or 0.0
            for _, topic, payload in self.bus.messages
            if topic == INTERVALS
            for row in payload["data"]
        }
        return sum(quarters.values())

    def until_kwh(self, wanted: float) -> None:
        deadline_s = time.monotonic() + 15
        while abs(self.kwh() - wanted) > 1e-6:
            assert time.monotonic() < deadline_s, f"{self.kwh()} kWh in place of {wanted}"
            time.sleep(0.05)

    def pause(self) -> None:
        """Let the device be polled once more, at least."""
        count = len([each for each in self.bus.messages if each[1] == READING])
        deadline_s = time.monotonic() + 15
        while len([each for each in self.bus.messages if each[1] == READING]) < count + 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    plant, broker = Plant(), real_broker.create(tmp_path)
    plant.set_kwh(5000)
    (tmp_path / "devices").mkdir(exist_ok=True)
    (tmp_path / "devices" / "plant.toml").write_text(f"""
[meter.heatpump]
modbus   = "127.0.0.1:{plant.port}"
every    = "100ms"
ship     = 9
register = {{ address = 200, type = "float32" }}
unit     = "kWh"
[machine.pump]
modbus   = "127.0.0.1:{plant.port}"
every    = "100ms"
machine  = 12
value.temperature = {{ address = 100, type = "int16", scale_from = 101 }}
""")
    broker.start()
    with connected_to(broker, "operator") as client:
        bus = Bus()
        client.on_message = lambda _c, _d, message: bus.take(message.topic, bytes(message.payload))
        client.subscribe([(each, 1) for each in (INTERVALS, READING, RECORDER, "devices/#", "rejected/#")])
        made = World(broker, plant, bus)
        try:
            made.start("recorder", "storage")
            bus.wait(RECORDER, lambda state: state["state"] == "online")
            made.start("energy", "controllers.energy")
            made.start("devices", "adapters.devices")
            yield made
        finally:
            for name in made.processes:
                made.kill(name)
            plant.stop()
            real_broker.remove(broker)


def test_a_register_over_modbus_with_zeros_and_kills(world: World) -> None:
    _, reading = world.bus.wait(READING, lambda payload: True)
    assert (reading["id"], reading["temperature"]) == (12, 21.5)
    world.bus.wait(METER, lambda state: state["link"] == "online" and state["mapped"] > 0)
    world.plant.set_kwh(5001)
    world.until_kwh(1)
    world.plant.set_kwh(0)
    world.pause()
    world.plant.set_kwh(5002)
    world.until_kwh(2)
    for name, module in (("energy", "controllers.energy"), ("devices", "adapters.devices")):
        world.kill(name)
        world.plant.set_kwh(5003 + len(name))
        world.start(name, module)
        world.until_kwh(3 + len(name))
    assert not [each for each in world.bus.messages if each[1].startswith("rejected/")]
    world.plant.stop()
    world.bus.wait(PUMP, lambda state: state["link"] == "offline" and "cannot be reached" in (state["error"] or ""))
