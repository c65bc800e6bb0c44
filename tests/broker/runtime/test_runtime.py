"""The runtime without a broker: the log at its end, and takeover by a later start."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.errors import CannotStart, Rejected, TakenOver
from broker.message import Message, Publication
from broker.mqtt.packets import Delivery
from broker.runtime.clock import PlantClock
from broker.runtime.component import Bus
from broker.runtime.declaration import Declaration
from broker.runtime.publisher import Publisher
from broker.runtime.runtime import Runtime, run
from broker.runtime.settings import Settings
from broker.stamp import HISTORY, read_causes, read_stamp
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


@pytest.mark.parametrize(
    ("later", "reconnected", "retained", "state", "leaves"),
    [
        (True, True, True, Presence.ONLINE, True),
        (True, True, True, Presence.OFFLINE, True),
        (True, False, False, Presence.ONLINE, True),
        (True, False, False, Presence.OFFLINE, False),
        (True, False, True, Presence.ONLINE, False),
        (False, True, True, Presence.ONLINE, False),
        (False, False, False, Presence.ONLINE, False),
    ],
)
def test_only_a_later_start_takes_over(later: bool, reconnected: bool, retained: bool, state: Presence, leaves: bool) -> None:
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
        published = STATE.publication(ComponentState(state, theirs._publisher.boot, "1"), component="heating")
        received = Delivery(published.topic, published.payload, qos=1, retain=retained, dup=False, packet_id=1, properties=b"")
        if leaves:
            with pytest.raises(TakenOver, match="running twice"):
                ours.on_deliveries([received])
        else:
            ours.on_deliveries([received])

    asyncio.run(scenario())


class Taking(Quiet):
    """A component that remembers what it received."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        self.topics.append(message.topic)
        return []


@pytest.mark.parametrize(("takes", "received"), [(False, ["live"]), (True, ["past", "live"])])
def test_history_is_for_components_that_take_it(takes: bool, received: list[str]) -> None:
    """No controller may act on it as if it happened now; the energy normalizer turns it into quarters of the past."""
    component = Taking()
    runtime = Runtime(Declaration(name="heating", summary="", takes_history=takes), component, Settings.load({}))
    boots = {"past": HISTORY + "01a2310cdd60", "live": "01a2310cdd60"}
    for topic, boot in boots.items():
        properties = b"".join(b"\x26" + _text(name) + _text(value) for name, value in (("source", "sim"), ("boot", boot)))
        runtime._handle(Delivery(topic, b"{}", qos=1, retain=False, dup=False, packet_id=1, properties=properties))
    assert component.topics == received


def test_history_has_a_boot_and_numbers_of_its_own() -> None:
    publisher = Publisher("sim-ships", PlantClock())
    past_at = datetime(2026, 1, 31, 8, tzinfo=UTC)
    sent = [Publication(topic="x", payload=b"", plant=True, history_at=each) for each in (past_at, None, past_at)]
    stamps = [read_stamp(tuple(publisher.stamped(each).properties["user_property"])) for each in sent]
    assert [(each.boot, each.seq) for each in stamps] == [
        (HISTORY + publisher.boot, 1),
        (publisher.boot, 1),
        (HISTORY + publisher.boot, 2),
    ]
    assert [each.plant_at == past_at for each in stamps] == [True, False, True]
    assert {each.source for each in stamps} == {"sim-ships"}


def _text(text: str) -> bytes:
    return len(text).to_bytes(2) + text.encode()


class Answering(Quiet):
    """A component that publishes on every message, and on every tick."""

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        if message.topic == "bad":
            raise Rejected("bad", [Publication(topic="out", payload=b"")])
        own = Publication(topic="out", payload=b"", causes=("a/b/1", "tick"))
        return [Publication(topic="out", payload=b""), own]


@pytest.mark.parametrize(
    ("topic", "stamp", "causes"),
    [
        ("in", (), [["in"], ["a/b/1", "tick"]]),
        ("in", (("source", "x"), ("boot", "y"), ("seq", "7")), [["x/y/7"], ["a/b/1", "tick"]]),
        (
            "storage/answer/heating",
            (("source", "recorder"), ("boot", "y"), ("seq", "7")),
            [["storage/query"], ["a/b/1", "tick"]],
        ),
        ("bad", (), [["bad"], ["bad"]]),
    ],
)
def test_a_publication_follows_from_its_message(
    topic: str, stamp: tuple[tuple[str, str], ...], causes: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published_causes(Declaration(name="heating", summary=""), topic, stamp, monkeypatch) == causes


def test_a_simulator_names_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = Declaration(name="sim-rooms", summary="", is_plant=True)
    assert published_causes(declaration, "in", (), monkeypatch) == [[], ["a/b/1", "tick"]]


def published_causes(
    declaration: Declaration, topic: str, stamp: tuple[tuple[str, str], ...], monkeypatch: pytest.MonkeyPatch
) -> list[list[str]]:
    runtime = Runtime(declaration, Answering(), Settings.load({}))
    sent: list[tuple[tuple[str, str], ...]] = []
    monkeypatch.setattr(runtime._connection, "publish", lambda packet, _urgent: sent.append(packet.properties["user_property"]))
    properties = b"".join(b"\x26" + _text(name) + _text(value) for name, value in stamp)
    runtime._handle(Delivery(topic, b"{}", qos=1, retain=False, dup=False, packet_id=1, properties=properties))
    return [read_causes(each) or [] for each in sent]
