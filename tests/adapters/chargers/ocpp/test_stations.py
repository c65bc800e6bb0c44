"""OCPP chargers on real sockets: what is answered and when, what is published, and the requests to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from adapters.chargers import component
from adapters.chargers.ocpp import conversation, stations
from adapters.chargers.ocpp.dialect import OCPP16, SUBPROTOCOLS
from broker.contract.charging.topics import CHARGE_POINT
from broker.errors import BrokerUnavailable, Rejected
from broker.message import Message, Publication, encode
from tests.adapters.chargers.fakes import TIMEOUT_S, FakeBus, Running, closed, running, until
from tests.adapters.chargers.ocpp.calls import at

HEARTBEAT = '[2,"1","Heartbeat",{}]'


class Box:
    """A charger's connection, and the bus behind the adapter."""

    def __init__(self, served: Running, connection: ClientConnection, name: str) -> None:
        self.served, self.bus, self.connection, self.name = served, served.bus, connection, name

    async def send(self, frame: Any) -> None:
        await self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def receive(self) -> list[Any]:
        async with asyncio.timeout(TIMEOUT_S):
            found: list[Any] = json.loads(await self.connection.recv())
            return found

    async def call(self, action: str, **payload: Any) -> dict[str, Any]:
        await self.send([2, "1", action, payload])
        kind, _, answer = await self.receive()
        assert kind == 3
        found: dict[str, Any] = answer
        return found

    async def start(self, **more: Any) -> int:
        fields = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": at(0), **more}
        return int((await self.call("StartTransaction", **fields))["transactionId"])

    async def is_silent(self, for_s: float = 0.1) -> bool:
        try:
            async with asyncio.timeout(for_s):
                await self.connection.recv()
        except TimeoutError:
            return True
        return False

    def frames(self) -> list[bytes]:
        return [each.payload for each in self.bus.on(f"chargers/{self.name}/ocpp")]

    def ask(self, answer_to: str | None = "charging/answer/me", retain: bool = False, **request: Any) -> list[Publication]:
        return ask(self.served, self.name, answer_to, retain, **request)

    async def answer(self) -> dict[str, Any]:
        """Take the first answer to a request."""
        await self.bus.until(lambda: self.bus.on("charging/answer/me"))
        return answers(self.bus.on("charging/answer/me"))[0]


def ask(served: Running, name: str, answer_to: str | None, retain: bool = False, **request: Any) -> list[Publication]:
    message = Message(
        topic=f"chargers/{name}/request",
        payload=json.dumps(request).encode(),
        response_topic=answer_to,
        correlation_data=b"7",
        retain=retain,
    )
    return served.adapter.on_message(message, 0.0)


def answers(publications: list[Publication]) -> list[dict[str, Any]]:
    assert {each.correlation_data for each in publications} <= {b"7"}
    return [json.loads(each.payload) for each in publications]


@asynccontextmanager
async def box(served: Running, path: str = "ocpp/box", name: str = "box", version: str = OCPP16) -> AsyncIterator[Box]:
    await until(lambda: served.adapter._stations.restored)
    async with served.connect(path, subprotocols=[Subprotocol(version)]) as connection:
        yield Box(served, connection, name)


@asynccontextmanager
async def connected() -> AsyncIterator[Box]:
    async with running() as served, box(served) as charger:
        yield charger


def test_frames_are_published_verbatim_and_answered() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            frame = '[ 2,"a", "Heartbeat" , {"more":1.50} ]'
            await charger.send(frame)
            assert set((await charger.receive())[2]) == {"currentTime"}
            assert charger.frames() == [frame.encode()]
            assert charger.bus.linked("chargers/box")

    asyncio.run(scenario())


@pytest.mark.parametrize("frame", ["garbage", "{}", "[]", b"\x00", '[2,null,"Heartbeat",{}]', '[9,"a"]', '[3,"unasked",{}]'])
def test_a_frame_that_cannot_be_answered_is_rejected(frame: str | bytes) -> None:
    async def scenario() -> None:
        async with connected() as charger:
            await charger.send(frame)
            await charger.bus.until(charger.bus.rejected)
            (rejected,) = charger.bus.rejected()
            assert (rejected.topic, rejected.payload) == ("chargers/box/ocpp", frame if isinstance(frame, str) else "\x00")
            await charger.call("Heartbeat")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('[2,"a"]', "FormationViolation"),
        ('[2,"a","Heartbeat",7]', "TypeConstraintViolation"),
        ('[2,"a","Unheard",{}]', "NotImplemented"),
        ('[2,"a","StopTransaction",{}]', "OccurenceConstraintViolation"),
    ],
)
def test_a_call_that_cannot_be_used_gets_an_error(frame: str, code: str) -> None:
    async def scenario() -> None:
        async with connected() as charger:
            await charger.send(frame)
            kind, unique_id, found, *_ = await charger.receive()
            assert (kind, unique_id, found) == (4, "a", code)
            assert charger.frames() == [frame.encode()]
            await charger.call("Heartbeat")

    asyncio.run(scenario())


@pytest.mark.parametrize("offered", [None, ["ocpp1.5"], ["mqtt", "ocpp2.1"]])
def test_without_a_common_subprotocol_there_is_no_session(offered: list[str] | None) -> None:
    async def scenario() -> None:
        async with running() as served:
            await until(lambda: served.adapter._stations.restored)
            subprotocols = None if offered is None else [Subprotocol(each) for each in offered]
            async with served.connect("ocpp/box", subprotocols=subprotocols) as connection:
                assert connection.subprotocol is None
                assert (await closed(connection))[0] == 1008
            assert served.bus.links("chargers/box") == []

    asyncio.run(scenario())


def test_the_first_version_that_a_charger_offers_is_spoken() -> None:
    async def scenario() -> None:
        async with running() as served:
            await until(lambda: served.adapter._stations.restored)
            offered = [Subprotocol(each) for each in ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")]
            async with served.connect("ocpp/box", subprotocols=offered) as connection:
                assert connection.subprotocol == "ocpp2.0.1"

    asyncio.run(scenario())


def test_ids_are_decoded_and_checked() -> None:
    async def scenario() -> None:
        async with running() as served:
            async with box(served, "ocpp/Box%20%C3%A4?x=1", "Box ä") as charger:
                await charger.call("Heartbeat")
                assert len(charger.frames()) == 1
            for path in ("ocpp", "ocpp/", "ocpp/a/b", "ocpp/a%2Fb", "ocpp/a%2B", "ocpp/%00", "ocpp/" + "x" * 257):
                with pytest.raises(InvalidStatus) as refused:
                    async with box(served, path):
                        pass
                assert refused.value.response.status_code == 404

    asyncio.run(scenario())


class SlowBus(FakeBus):
    """A bus whose broker acknowledges nothing while it is `away`."""

    away, delivered = True, 0

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        if self.away:
            raise BrokerUnavailable("away")
        self.delivered += 1
        self.publish(publication)


def test_a_frame_is_answered_after_the_broker_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stations, "RETRY_S", 0.01)

    async def scenario() -> None:
        async with running() as served:
            bus = served.bus
            bus.__class__ = SlowBus
            async with box(served) as charger:
                await charger.send(HEARTBEAT)
                assert await charger.is_silent()
                assert charger.frames() == []
                assert isinstance(bus, SlowBus)
                bus.away = False
                assert (await charger.receive())[0] == 3
                assert charger.frames() == [HEARTBEAT.encode()]

    asyncio.run(scenario())


def test_a_charger_that_never_waits_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MOST_WAITING", 3)

    async def scenario() -> None:
        async with running() as served:
            served.bus.__class__ = SlowBus
            async with box(served) as charger:
                with suppress(ConnectionClosed):
                    for _ in range(100):
                        await charger.send(HEARTBEAT)
                        await asyncio.sleep(0.001)
                await closed(charger.connection)
                assert "does not wait" in str(charger.connection.close_reason)

    asyncio.run(scenario())


def test_a_transaction_goes_on_in_a_restarted_adapter() -> None:
    async def scenario() -> None:
        async with running() as served:
            async with box(served) as charger:
                number = await charger.start()
                await charger.bus.until(lambda: charger.bus.on("chargers/box/session"))
            retained = served.bus.on("chargers/box/charge-point")[-1]
        async with running() as restarted:
            restarted.adapter.on_message(Message(topic=retained.topic, payload=retained.payload, retain=True), 0.0)
            async with box(restarted) as charger:
                assert await charger.start() == number
                assert await charger.start(timestamp=at(1)) != number
                await charger.call("StopTransaction", transactionId=number, meterStop=500, timestamp=at(9))
                ended = json.loads(charger.bus.on("chargers/box/session")[-1].payload)
                assert (ended["kwh"], ended["session"]) == (0.5, f"box#{number}")

    asyncio.run(scenario())


def test_what_a_restarted_broker_has_lost_is_published_again() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            await charger.start()
            first, *_, last = charger.bus.on("chargers/box/charge-point")
            for old in (first, last):
                message = Message(topic=old.topic, payload=old.payload, retain=True)
                assert charger.served.adapter.on_message(message, 0.0) == []
            points = charger.bus.on("chargers/box/charge-point")
            assert [each.payload for each in points[-2:]] == [last.payload, last.payload]
            assert len(points) == 3

    asyncio.run(scenario())


def test_what_another_adapter_has_learned_is_added() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            number = await charger.start()
            await charger.bus.until(lambda: len(charger.bus.on("chargers/box/charge-point")) == 2)
            payload = charger.bus.on("chargers/box/charge-point")[-1].payload
            point = CHARGE_POINT.decode(Message(topic="t", payload=payload))
            assert [each.id for each in point.transactions] == [str(number)]
            changed = payload.replace(str(number).encode(), b"8").replace(b"10:00", b"09:00")
            charger.served.adapter.on_message(Message(topic="chargers/box/charge-point", payload=changed), 0.0)
            assert await charger.start() == number
            assert await charger.start(timestamp="2026-01-31T09:00:00Z") == 8
            ended = replace(point, transactions=(replace(point.transactions[0], ended_at="2026-01-31T10:30:00.000000Z"),))
            charger.served.adapter.on_message(Message(topic="chargers/box/charge-point", payload=encode(ended)), 0.0)
            (answer,) = charger.ask(action="stop", connector=2)
            assert "no transaction" in answer.payload.decode()
            last = CHARGE_POINT.decode(Message(topic="t", payload=charger.bus.on("chargers/box/charge-point")[-1].payload))
            assert [each.id for each in last.transactions if each.ended_at is None] == ["8"]

    asyncio.run(scenario())


def test_no_charger_is_served_before_the_past_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "PAIRS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(component, "RETRY_S", 0.01)
    answers_pings = asyncio.Event()

    async def ping(_bus: FakeBus, _timeout_s: float) -> None:
        if not answers_pings.is_set():
            raise BrokerUnavailable("away")

    monkeypatch.setattr(FakeBus, "ping", ping)

    async def scenario() -> None:
        async with running() as served:
            with pytest.raises(InvalidStatus) as refused:
                async with served.connect("ocpp/box", subprotocols=[Subprotocol(OCPP16)]):
                    pass
            assert refused.value.response.status_code == 503
            answers_pings.set()
            async with box(served) as charger:
                await charger.call("Heartbeat")

    asyncio.run(scenario())


def test_requests_are_put_one_at_a_time() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            number = await charger.start()
            assert charger.ask(action="reset", type="Soft") == []
            assert charger.ask(action="stop") == []
            _, first, action, payload = await charger.receive()
            assert (action, payload) == ("Reset", {"type": "Soft"})
            assert await charger.is_silent()
            await charger.send([3, first, {"status": "Accepted"}])
            _, second, action, payload = await charger.receive()
            assert (action, payload) == ("RemoteStopTransaction", {"transactionId": number})
            await charger.send([4, second, "InternalError", "no", {}])
            await charger.bus.until(lambda: len(charger.bus.on("charging/answer/me")) == 2)
            assert answers(charger.bus.on("charging/answer/me")) == [
                {"action": "reset", "status": "Accepted"},
                {"action": "stop", "error": "InternalError: no"},
            ]

    asyncio.run(scenario())


def test_a_request_that_is_not_answered_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 0.05)

    async def scenario() -> None:
        async with connected() as charger:
            charger.ask(action="reset")
            answer = await charger.answer()
            assert (answer["action"], "has not answered" in answer["error"]) == ("reset", True)
            _, first, *_ = await charger.receive()
            await charger.send([3, first, {"status": "Accepted"}])
            await charger.bus.until(charger.bus.rejected)
            assert len(charger.bus.on("charging/answer/me")) == 1

    asyncio.run(scenario())


def test_a_request_fails_when_the_charger_disconnects() -> None:
    async def scenario() -> None:
        async with running() as served:
            async with box(served) as charger:
                charger.ask(action="reset")
                await charger.receive()
            assert (await charger.answer())["error"] == "the charger has disconnected"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "request_", "reason"),
    [
        ("away", {"action": "reset"}, "not connected"),
        ("box", {"action": "stop"}, "no transaction"),
        ("box", {"action": "start"}, "id tag"),
        ("box", {"action": "start", "id_tag": "T", "connector": 0}, "from 1"),
        ("box", {"action": "explode"}, "explode"),
        ("box", {}, "action"),
        ("c1234", {"action": "reset"}, "OCPP"),
    ],
)
def test_a_wrong_request_is_answered_at_once(name: str, request_: dict[str, Any], reason: str) -> None:
    async def scenario() -> None:
        async with connected() as charger, charger.served.connect():
            await charger.bus.until(lambda: charger.bus.linked())
            (answer,) = answers(ask(charger.served, name, "charging/answer/me", **request_))
            assert reason in answer["error"]
            with pytest.raises(Rejected, match=reason):
                ask(charger.served, name, None, **request_)

    asyncio.run(scenario())


def test_old_requests_and_foreign_response_topics_are_rejected() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            with pytest.raises(Rejected):
                charger.ask(action="reset", retain=True)
            with pytest.raises(Rejected):
                charger.ask(action="reset", answer_to="storage/query")

    asyncio.run(scenario())


def test_only_the_adapter_that_holds_a_charger_answers() -> None:
    async def scenario() -> None:
        async with running() as first, running(beside=first, name="charger-adapter-2") as second:
            await until(lambda: second.adapter._stations.restored)
            await second.stop()
            async with box(first) as charger:
                await first.bus.until(lambda: first.bus.linked("chargers/box"))
                await until(lambda: "box" in second.adapter._elsewhere)
                assert ask(second, "box", "charging/answer/me", action="stop") == []
                assert len(charger.ask(action="stop")) == 1
            await until(lambda: "box" not in second.adapter._elsewhere)
            assert ask(second, "box", "charging/answer/me", action="stop") == []
            assert len(charger.ask(action="stop")) == 1

    asyncio.run(scenario())


def test_a_charger_that_returns_without_ocpp_is_no_ocpp_charger() -> None:
    async def scenario() -> None:
        async with running() as served:
            async with box(served, "ocpp/c1234", "c1234") as charger:
                await charger.call("Heartbeat")
                async with served.connect() as plain:
                    assert (await closed(charger.connection))[0] == 1008
                    await plain.send('{"event":"StateOfCharge","data":{"soc":70}}')
                    await served.bus.until(served.bus.socs)
            points = served.bus.on("chargers/c1234/charge-point")
            assert (points[-1].payload, points[-1].retain) == (b"", True)

    asyncio.run(scenario())


def test_ocpp_chargers_stay_when_the_pairs_change() -> None:
    async def scenario() -> None:
        async with connected() as charger:
            charger.served.pair({"c9": "w9"})
            await charger.call("Heartbeat")

    asyncio.run(scenario())


def test_a_newer_connection_goes_on_with_the_transaction() -> None:
    async def scenario() -> None:
        async with running() as served, box(served) as first:
            number = await first.start()
            async with box(served) as second:
                assert "newer connection" in str((await closed(first.connection))[1])
                assert await second.start() == number
                assert second.ask(action="stop") == []
                assert (await second.receive())[2:] == ["RemoteStopTransaction", {"transactionId": number}]

    asyncio.run(scenario())


@pytest.mark.parametrize("version", SUBPROTOCOLS)
def test_no_frame_stops_the_adapter(version: str) -> None:
    """Frames of a charger, each with a part that is missing or something else: every one is answered or rejected."""
    frames = list(mutations(version))
    assert len(frames) > 500

    async def scenario() -> None:
        async with running() as served, box(served, version=version) as charger:
            kinds = {3: 0, 4: 0}
            for frame in frames:
                await charger.send([2, "1", *frame])
                kinds[(await charger.receive())[0]] += 1
            assert min(kinds.values()) > 50
            await charger.call("Heartbeat")

    asyncio.run(scenario())


def mutations(version: str) -> Iterator[list[Any]]:
    for action, payload in WHOLE[version].items():
        for wrong in WRONG:
            yield [action, wrong]
            for path in paths(payload):
                yield [action, changed(payload, path, wrong)]


def paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Return the place of every part of a payload."""
    parts: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        parts = enumerate(value)
    for key, part in parts:
        yield (key,)
        yield from ((key, *rest) for rest in paths(part))


def changed(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    key, *rest = path
    copy = value.copy()
    copy[key] = changed(value[key], tuple(rest), wrong) if rest else wrong
    return copy


WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, "", "x", "\x00", [], [None], {}, {"value": {}})
SAMPLED = [
    {"value": "1.5", "measurand": "SoC", "unit": "Percent", "phase": "L1", "unitOfMeasure": {"unit": "Wh", "multiplier": 0}}
]
VALUES = [{"timestamp": at(0), "sampledValue": SAMPLED}]
WHOLE: dict[str, dict[str, dict[str, Any]]] = {
    "ocpp1.6": {
        "BootNotification": {"chargePointVendor": "v", "chargePointModel": "m", "firmwareVersion": "f"},
        "StatusNotification": {"connectorId": 1, "status": "Charging", "errorCode": "NoError"},
        "StartTransaction": {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": at(0)},
        "MeterValues": {"connectorId": 1, "transactionId": 1, "meterValue": VALUES},
        "StopTransaction": {"transactionId": 1, "meterStop": 1, "timestamp": at(1), "transactionData": VALUES, "idTag": "T"},
    },
    "ocpp2.0.1": {
        "BootNotification": {"reason": "PowerUp", "chargingStation": {"model": "m", "vendorName": "v"}},
        "StatusNotification": {"evseId": 1, "connectorId": 1, "connectorStatus": "Occupied", "timestamp": at(0)},
        "TransactionEvent": {
            "eventType": "Started",
            "timestamp": at(0),
            "seqNo": 0,
            "transactionInfo": {"transactionId": "T", "chargingState": "Charging"},
            "evse": {"id": 1},
            "idToken": {"idToken": "T", "type": "Central"},
            "meterValue": VALUES,
        },
        "MeterValues": {"evseId": 1, "meterValue": VALUES},
    },
}
