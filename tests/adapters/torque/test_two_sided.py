"""The adapter against the simulated driver."""

import asyncio
from contextlib import suppress

import msgspec
import pytest

from adapters.torque import gateway
from adapters.torque.configuration import TorqueDriver
from broker.contract.fastening.topics import Operation, TorqueEvent
from broker.runtime.web_access import WebAccess
from sim.torque_driver.component import SimulatedTorqueDrivers
from sim.torque_driver.driver import Behaviour, Fault
from tests.adapters.torque.fakes import TIMEOUT_S, FakeBus, RunningAdapter, running
from tests.real_broker import free_ports


def forward(value: str) -> bytes:
    return b'{"type":"setTorque","data":{"direction":"forward","value":%s}}' % value.encode()


async def fasten(adapter: RunningAdapter, value: str, correlation: bytes) -> Operation:
    """Set a torque and wait for the next message."""
    count = len(adapter.bus.events())
    adapter.command(forward(value), correlation)
    await adapter.bus.until(lambda: len(adapter.bus.events()) > count)
    assert adapter.bus.correlations()[-1] == correlation
    return msgspec.convert(msgspec.json.decode(adapter.bus.events()[-1], type=TorqueEvent).data, Operation)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


async def _with_sim(port: int, behaviour: Behaviour, scenario: "asyncio._CoroutineLike[None]") -> None:
    drivers = SimulatedTorqueDrivers(("127.0.0.1",), port, behaviour, WebAccess())
    task = asyncio.create_task(drivers.serve(FakeBus(), lambda working: None))
    try:
        await asyncio.wait_for(scenario, TIMEOUT_S)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_steps_are_fastened_in_order(port: int) -> None:
    async def scenario() -> None:
        async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
            await adapter.bus.until(lambda: adapter.bus.links() and adapter.bus.links()[-1].connected)
            for number, value in enumerate(("12.10", "19", "0.5"), 1):
                operation = await fasten(adapter, value, b"%d" % number)
                assert operation.configured == float(value)
                assert operation.current == pytest.approx(float(value), rel=0.031)
            assert len(adapter.bus.events()) == 3

    asyncio.run(_with_sim(port, Behaviour(delay_s=0.02, out_of_range=0), scenario()))


def test_a_driver_that_disconnects_is_reconnected_each_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "FIRST_BACKOFF_S", 0.01)

    async def scenario() -> None:
        async with running(TorqueDriver("driver-1", f"ws://127.0.0.1:{port}")) as adapter:
            for times in (1, 2, 3):
                connected = times
                await adapter.bus.until(lambda: [each.connected for each in adapter.bus.links()].count(True) == connected)  # noqa: B023
                adapter.command(forward("12"))
            expected = "closed by the driver (1001: simulated fault)"
            await adapter.bus.until(lambda: adapter.bus.errors().count(expected) == 3)
            assert adapter.bus.events() == []

    asyncio.run(_with_sim(port, Behaviour(delay_s=0.02, faults={Fault.DISCONNECT: 1.0}), scenario()))
