"""Arbitrary bytes on a port: all other clients are still served, and the loop has no error."""

import asyncio
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from broker.contract.charging.topics import Status
from tests.adapters.chargers.fakes import Raw, Running, next_status, running
from tests.adapters.chargers.fuzz import cuts, mutated, pieces, streams
from tests.adapters.chargers.wire import head, soc

PAIRS = {"c1234": "wABCD", "c1": "w1"}
HEADS = st.sampled_from([head("/chargers/c1"), head("/widgets/w1"), head("/chargers/c9")])
WRITTEN = st.one_of(
    st.binary(max_size=200),
    mutated(HEADS),
    st.tuples(HEADS, streams | mutated(streams) | st.binary(max_size=200)).map(b"".join),
    st.tuples(mutated(HEADS), mutated(streams)).map(b"".join),
)
ENDS = st.sampled_from(["close", "half-close", "abort", "leave open"])
STATUSES = (Status.CHARGING, Status.CHARGING_80)


class Fuzzed:
    """An adapter with a well-behaved charger and widget, and connections left open."""

    def __init__(self, served: Running, charger: ClientConnection, widget: ClientConnection) -> None:
        self.served, self.charger, self.widget = served, charger, widget
        self.round, self.left = 0, list[Raw]()

    async def throw(self, widgets: bool, parts: list[bytes], end: str) -> None:
        raw = await self.served.plain("widgets/" if widgets else "chargers/")
        for part in parts:
            raw.write(part)
            await asyncio.sleep(0)
        if end == "close":
            await raw.close()
        elif end == "abort":
            raw.writer.transport.abort()
        else:
            if end == "half-close":
                with suppress(OSError):  # closed by the server
                    raw.writer.write_eof()
            self.left.append(raw)

    async def check(self) -> None:
        self.round += 1
        payload, status = soc(self.round % 100), STATUSES[self.round % 2]
        await self.charger.send(payload.decode())
        self.served.status("wABCD", status)
        assert await next_status(self.widget) == status.value
        await self.served.bus.until(lambda: len(self.served.bus.socs()) == self.round)
        assert self.served.bus.socs()[-1] == payload
        assert self.served.errors == []

    async def finish(self) -> None:
        for each in self.left:
            each.writer.transport.abort()
        await self.check()
        for client in ("chargers/c1234", "widgets/wABCD"):
            assert [each.connected for each in self.served.bus.links(client)] == [True]


def test_arbitrary_bytes_do_not_affect_other_clients() -> None:
    with asyncio.Runner() as runner:
        world = running(PAIRS)
        served = runner.run(world.__aenter__())
        charger = runner.run(served.connect().__aenter__())
        widget = runner.run(served.connect("widgets/wABCD").__aenter__())
        fuzzed = Fuzzed(served, charger, widget)

        @settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(st.booleans(), WRITTEN, cuts, ENDS)
        def throw(widgets: bool, data: bytes, at: list[int], end: str) -> None:
            runner.run(fuzzed.throw(widgets, list(pieces(data, at)), end))
            runner.run(fuzzed.check())

        throw()
        runner.run(fuzzed.finish())
        for each in (charger, widget):
            runner.run(each.close())
        runner.run(world.__aexit__(None, None, None))
