"""The runtime without a broker: the log at its end, and takeover by a later start."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.errors import CannotStart, TakenOver
from broker.message import Message, Publication
from broker.mqtt.packets import Delivery
from broker.runtime.component import Bus
from broker.runtime.declaration import Declaration
from broker.runtime.runtime import Runtime, run
from broker.runtime.settings import Settings
from tests.real_broker import free_ports


class Quiet:
    """A component that ignores messages and publishes nothing."""

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        return []


class NotStarting(Quiet):
    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        raise CannotStart("its port is taken: stop the process that uses it")


class NotStopping(Quiet):
    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            raise OSError("the disk failed")


@pytest.mark.parametrize(
    ("service", "code", "errors"),
    [
        (NotStarting, 1, ["its port is taken: stop the process that uses it"]),
        (NotStopping, 0, ["while stopping: OSError('the disk failed')"]),
    ],
)
def test_the_reason_for_the_end_is_logged_once(
    service: type[Quiet], code: int, errors: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PORT", str(free_ports(1)[0]))
    with pytest.raises(SystemExit) as ended:
        run(Declaration(name="heating", summary="ends"), lambda _settings: service())
    assert ended.value.code == code
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == errors


@pytest.mark.parametrize(("later", "reconnected", "leaves"), [(True, True, True), (False, True, False), (True, False, False)])
def test_only_a_later_start_takes_over(later: bool, reconnected: bool, leaves: bool) -> None:
    """A broker that was killed may restore the state of any earlier start, even one that this start has never received."""
    declaration = Declaration(name="heating", summary="may be taken over")

    async def scenario() -> None:
        first = Runtime(declaration, Quiet(), Settings.load({}))
        await asyncio.sleep(0.002)
        second = Runtime(declaration, Quiet(), Settings.load({}))
        ours, theirs = (first, second) if later else (second, first)
        if reconnected:
            ours.on_up()
            ours.on_down()
        await ours.before_connect()
        state = STATE.publication(ComponentState(Presence.ONLINE, theirs._publisher.boot, "1"), component="heating")
        restored = Delivery(state.topic, state.payload, qos=1, retain=True, dup=False, packet_id=1, properties=b"")
        if leaves:
            with pytest.raises(TakenOver, match="running twice"):
                ours.on_deliveries([restored])
        else:
            ours.on_deliveries([restored])

    asyncio.run(scenario())
