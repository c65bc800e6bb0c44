"""What a component logs when it ends, without a broker."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from broker.errors import CannotStart
from broker.message import Message, Publication
from broker.runtime.component import Bus
from broker.runtime.declaration import Declaration
from broker.runtime.runtime import run
from tests.real_broker import free_ports


class Quiet:
    """A service of this test, which neither hears nor says anything."""

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        return []

    def on_tick(self, now_s: float) -> list[Publication]:
        return []


class NotStarting(Quiet):
    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        raise CannotStart("its port is taken: stop who has it")


class NotStopping(Quiet):
    async def serve(self, bus: Bus, working: Callable[[bool], None]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            raise OSError("the disk is away")


@pytest.mark.parametrize(
    ("service", "code", "said"),
    [
        (NotStarting, 1, ["its port is taken: stop who has it"]),
        (NotStopping, 0, ["while stopping: OSError('the disk is away')"]),
    ],
)
def test_why_it_ended_is_logged_once(
    service: type[Quiet], code: int, said: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAUP_MQTT_PORT", str(free_ports(1)[0]))
    with pytest.raises(SystemExit) as ended:
        run(Declaration(name="heating", summary="ends"), lambda _settings: service())
    assert ended.value.code == code
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == said
