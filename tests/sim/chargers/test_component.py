import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from broker.message import Message, Publication
from broker.runtime.component import Service
from sim.chargers.clients import Backoff, Client, ClientGroup
from sim.chargers.component import Fleet, SimulatedChargers
from sim.chargers.connection import CHARGER, WIDGET, Endpoint
from sim.chargers.frames import Fault
from tests.real_broker import free_ports
from tests.sim.chargers.server import TIMEOUT_S, OneServer, serving, status, until

SCALE = 3600.0
QUICK = Backoff(first_s=0.02, longest_s=0.2, unknown_s=0.05)


class FastBus:
    """A bus that only gives plant time: chargers do not use it."""

    def publish(self, publication: Publication) -> None:
        raise AssertionError(publication)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        raise AssertionError(publication)

    async def ping(self, timeout_s: float) -> None:
        raise AssertionError

    stopped_s: float | None = None

    def now_s(self) -> float:
        return time.monotonic() * SCALE if self.stopped_s is None else self.stopped_s

    def stop(self) -> None:
        """Stop plant time."""
        self.stopped_s = self.now_s()


@asynccontextmanager
async def simulated(chargers: int, widgets: int, fleet: Fleet, bus: FastBus | None = None) -> AsyncIterator[SimulatedChargers]:
    """Simulate against servers on two ports."""
    endpoints = Endpoint(CHARGER, "127.0.0.1", chargers), Endpoint(WIDGET, "127.0.0.1", widgets)
    service = SimulatedChargers(fleet, endpoints, SCALE, QUICK)
    working: asyncio.Queue[bool] = asyncio.Queue()
    task = asyncio.create_task(service.serve(bus or FastBus(), working.put_nowait))
    try:
        assert await asyncio.wait_for(working.get(), TIMEOUT_S)
        yield service
        assert not task.done()
    finally:
        task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def world(fleet: Fleet, **options: object) -> AsyncIterator[tuple[OneServer, OneServer, SimulatedChargers]]:
    async with (
        serving("chargers", **options) as chargers,
        serving("widgets", **options) as widgets,
        simulated(chargers.port, widgets.port, fleet) as service,
    ):
        yield chargers, widgets, service


def test_it_is_a_service_that_does_not_use_the_bus() -> None:
    endpoints = Endpoint(CHARGER, "127.0.0.1", 1), Endpoint(WIDGET, "127.0.0.1", 2)
    service = SimulatedChargers(Fleet(), endpoints)
    assert isinstance(service, Service)
    assert service.on_tick(0.0) == service.on_message(Message(topic="x", payload=b""), 0.0) == []


def test_every_charger_sends_and_every_widget_receives() -> None:
    async def scenario() -> None:
        async with world(Fleet(chargers=3)) as (chargers, widgets, service):
            names = ["sim-c1", "sim-c2", "sim-c3"]
            await until(lambda: all(100 in chargers.socs(each) for each in names), 30)
            for each in names:
                rising = list(itertools.takewhile(lambda soc: soc < 100, chargers.socs(each)))
                assert rising == sorted(rising)
                assert 5 <= rising[0] <= 65
            assert set(widgets.open) == {"sim-w1", "sim-w2", "sim-w3"}
            assert not any(widgets.frames.values())
            await widgets.open["sim-w2"].send(status("charging80"))
            await until(lambda: service.statuses() == {"sim-w1": None, "sim-w2": "charging80", "sim-w3": None})

    asyncio.run(scenario())


def test_a_widget_ignores_other_messages(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with world(Fleet(chargers=1)) as (_, widgets, service):
            await until(lambda: widgets.open)
            for frame in (status("charged"), "garbage", '{"event":"other"}', b"\xff"):
                await widgets.open["sim-w1"].send(frame)
            await until(lambda: caplog.text.count("not a chargingStatus") == 3)
            assert service.statuses() == {"sim-w1": "charged"}
            assert "sim-w1" in widgets.open

    asyncio.run(scenario())


def test_it_is_ready_before_the_adapter_is(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        one, other = free_ports(2)
        async with simulated(one, other, Fleet(chargers=4)):
            await until(lambda: caplog.text.count("connection refused") >= 2)
            async with serving("chargers", port=one) as chargers, serving("widgets", port=other) as widgets:
                await until(lambda: len(chargers.open) == len(widgets.open) == 4)
                await until(lambda: all(chargers.socs(f"sim-c{n}") for n in range(1, 5)))
        assert caplog.text.count("connection refused") == 2, "once for each role"
        assert caplog.text.count("is the charger adapter running?") == 2

    asyncio.run(scenario())


def test_clients_reconnect_after_a_server_restart() -> None:
    async def scenario() -> None:
        async with world(Fleet(chargers=3)) as (chargers, widgets, service):
            await until(lambda: all(chargers.socs(f"sim-c{n}") for n in (1, 2, 3)) and len(widgets.open) == 3)
            for server in (chargers, widgets):
                await server.stop()
            chargers.frames.clear()
            widgets.first = status("charging")
            for server in (chargers, widgets):
                await server.start()
            await until(lambda: len(chargers.open) == len(widgets.open) == 3)
            await until(lambda: set(service.statuses().values()) == {"charging"})
            await until(lambda: all(chargers.socs(f"sim-c{n}") for n in (1, 2, 3)), 30)

    asyncio.run(scenario())


def test_a_charger_sends_its_soc_as_it_reconnects() -> None:
    async def scenario() -> None:
        bus = FastBus()
        async with serving("chargers") as chargers, simulated(chargers.port, 9, Fleet(chargers=1), bus):
            await until(lambda: chargers.socs("sim-c1"))
            bus.stop()
            last = chargers.socs("sim-c1")[-1]
            chargers.frames.clear()
            chargers.open["sim-c1"].transport.abort()
            await until(lambda: chargers.socs("sim-c1"))
            (soc,) = chargers.socs("sim-c1")
            assert soc >= last, "a later one may have been under way"

    asyncio.run(scenario())


def test_unknown_ids_are_logged_once_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with world(Fleet(chargers=3), known=set()) as (chargers, widgets, _):
            await until(
                lambda: chargers.requested.count("/chargers/sim-c2") >= 3 and widgets.requested.count("/widgets/sim-w3") >= 3
            )
            chargers.known = widgets.known = None
            await until(lambda: len(chargers.open) == len(widgets.open) == 3)

    asyncio.run(scenario())
    logged = [each.getMessage() for each in caplog.records if "404" in each.getMessage()]
    assert len(logged) == 2
    assert all(
        "`scaup run sim-chargers --chargers 3 --print-pairs`" in each and "SCAUP_CHARGER_PAIRS" in each for each in logged
    )


def test_garbage_and_text_come_before_each_frame() -> None:
    async def scenario() -> None:
        faults = {Fault.GARBAGE: 1.0, Fault.TEXT: 1.0}
        async with world(Fleet(chargers=1, faults=faults)) as (chargers, _, _service):
            received = chargers.frames.setdefault("sim-c1", [])
            await until(lambda: len(received) >= 7)
            # One without faults comes first where the client connected after the customer.
            start = next(n for n, frame in enumerate(received) if not is_json(frame))
            assert start <= 1
            _, text, frame = received[start : start + 3]
            soc = json.loads(frame)["data"]["soc"]
            assert json.loads(text) == {"event": "StateOfCharge", "data": {"soc": str(soc)}}

    asyncio.run(scenario())


def is_json(frame: str | bytes) -> bool:
    with suppress(ValueError):
        json.loads(frame)
        return True
    return False


def test_disconnect_closes_and_reconnects() -> None:
    async def scenario() -> None:
        async with world(Fleet(chargers=1, faults={Fault.DISCONNECT: 1.0})) as (chargers, _, _service):
            await until(lambda: chargers.closed.count(("sim-c1", 1001)) >= 2)

    asyncio.run(scenario())


def test_frames_are_dropped_while_the_server_does_not_read() -> None:
    async def scenario() -> None:
        async with serving("chargers") as server:
            group = ClientGroup(Endpoint(CHARGER, "127.0.0.1", server.port), 1)
            client = Client("c1", group, lambda: None, lambda _: None, QUICK)
            running = asyncio.create_task(client.run())
            await until(lambda: server.open)
            server.open["c1"].transport.pause_reading()
            client.send(["x" * 500_000] * 40)
            await asyncio.sleep(0)
            client.send(["dropped"])
            server.open["c1"].transport.resume_reading()
            await until(lambda: len(server.frames["c1"]) == 40)
            await until(lambda: not client.sending)
            client.send(["last"])
            await until(lambda: "last" in server.frames["c1"])
            assert "dropped" not in server.frames["c1"]
            running.cancel()
            await asyncio.wait({running}, timeout=TIMEOUT_S)
            assert running.cancelled()

    asyncio.run(scenario())


def test_stopping_closes_cleanly() -> None:
    async def scenario() -> None:
        async with serving("chargers") as chargers, serving("widgets") as widgets:
            async with simulated(chargers.port, widgets.port, Fleet(chargers=3)):
                await until(lambda: len(chargers.open) == len(widgets.open) == 3)
            await until(lambda: len(chargers.closed) == len(widgets.closed) == 3)
            assert {code for _, code in chargers.closed + widgets.closed} == {1000}

    asyncio.run(scenario())


def test_a_bug_ends_the_service() -> None:
    async def scenario() -> None:
        class Broken(FastBus):
            def now_s(self) -> float:
                raise ZeroDivisionError

        endpoints = Endpoint(CHARGER, "127.0.0.1", 1), Endpoint(WIDGET, "127.0.0.1", 2)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(SimulatedChargers(Fleet(), endpoints).serve(Broken(), lambda _: None), TIMEOUT_S)

    asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _info_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sim.chargers")
