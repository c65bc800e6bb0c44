"""All answers, byte for byte where the specification gives them."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import ASGIApp

from adapters.http.app import application
from adapters.http.watch import BrokerWatch
from adapters.machine_api.document import DOCUMENT
from adapters.machine_api.machines import Machines
from adapters.machine_api.routes import LARGEST_BODY_BYTES, Routes
from broker.runtime.web_access import WebAccess
from tests.adapters.http.fakes import JSON, Answer, FakeBus, call, running, until
from tests.adapters.machine_api.world import READING, average, compact, reading

UPDATED = b'{"message":"Status updated"}'
INVALID = b'{"error":"Invalid status. Allowed statuses: STARTED, ERROR, IDLE, COMPLETED"}'
MISSING = b'{"error":"Missing \'status\' field in request data"}'


@dataclass
class Api:
    """The API with machines 1 and 7."""

    app: ASGIApp
    bus: FakeBus
    machines: Machines
    watch: BrokerWatch

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = b"") -> Answer:
        return await call(self.app, method, path, headers, body)


def api() -> Api:
    machines, watch, bus = Machines(), BrokerWatch(timeout_s=0.1, period_s=0.01), FakeBus()
    for each in (reading(), average(), reading(7, status="IDLE")):
        (machines.on_average if each.topic.endswith("average") else machines.on_reading)(each)
    routes = Routes(machines, watch)
    routes.bus = bus
    return Api(application(routes.resources(), DOCUMENT, watch, WebAccess()), bus, machines, watch)


def ask(method: str, path: str, headers: dict[str, str] | None = None, body: Any = b"") -> tuple[Answer, Api]:
    """Send one request while the broker answers."""

    async def send() -> tuple[Answer, Api]:
        made = api()
        async with running(made.watch.run(made.bus)):
            await until(lambda: made.bus.pings)
            return await made.ask(method, path, headers, body), made

    return asyncio.run(send())


def test_data_of_machine_1() -> None:
    answered, _ = ask("GET", "/data")
    assert answered.status == 200
    assert answered.body == compact({**READING, "average_temperature": 20.18, "average_speed": 899.64})
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["cache-control"] == "no-store"


def test_data_of_another_machine() -> None:
    for path in ("/data?id=7", "/data?other=1&id=7", "/data?id=%37"):
        answered, _ = ask("GET", path)
        expected = {**READING, "id": 7, "status": "IDLE", "average_temperature": None, "average_speed": None}
        assert (answered.status, answered.body) == (200, compact(expected))


@pytest.mark.parametrize(("method", "path"), [("GET", "/data"), ("POST", "/status")])
@pytest.mark.parametrize(
    "text",
    ["", "seven", "1.0", "1e0", "+1", "%201", "1_0", "0x1", "--1", "\u0661", "007", "-0", str(2**53), str(2**63), "9" * 5000],
)
def test_id_that_is_not_a_whole_number_is_400(method: str, path: str, text: str) -> None:
    answered, _ = ask(method, f"{path}?id={text}", JSON, b'{"status":"IDLE"}')
    assert answered.status == 400
    assert answered.error.startswith("id is to be a whole number")


def test_two_ids_are_400() -> None:
    answered, _ = ask("GET", "/data?id=1&id=7")
    assert (answered.status, answered.error) == (400, "id is given more than once: one machine at a time")


@pytest.mark.parametrize("number", [2, 0, -1, 2**53 - 1])
def test_unknown_machine_is_404(number: int) -> None:
    expected = f"machine {number} is unknown: nothing has come from it since this API was started"
    for answered, made in (ask("GET", f"/data?id={number}"), ask("POST", f"/status?id={number}", JSON, b'{"status":"IDLE"}')):
        assert (answered.status, answered.error) == (404, expected)
        assert made.bus.delivered == []


@pytest.mark.parametrize("given", ["STARTED", "ERROR", "IDLE", "COMPLETED", "completed", "Idle", "sTaRtEd"])
def test_status_is_set(given: str) -> None:
    answered, made = ask("POST", "/status", JSON, compact({"status": given}))
    assert (answered.status, answered.body) == (200, UPDATED)
    (published,) = made.bus.delivered
    assert published.topic == "machines/1/status"
    assert published.payload == compact({"status": given.upper()})
    assert (published.qos, published.retain, published.plant) == (1, False, False)


def test_status_of_another_machine_is_set() -> None:
    _, made = ask("POST", "/status?id=7", JSON, b'{"status":"ERROR"}')
    assert [each.topic for each in made.bus.delivered] == ["machines/7/status"]


@pytest.mark.parametrize(
    "given",
    [
        "DONE",
        " IDLE",
        "IDLE ",
        "IDLE\n",
        "ID LE",
        "\u0131DLE",
        "\u017fTARTED",
        "Status.IDLE",
        "IDLE\u0000",
        5,
        1.5,
        True,
        [],
        ["IDLE"],
        {},
    ],
)
def test_wrong_status(given: Any) -> None:
    answered, made = ask("POST", "/status", JSON, compact({"status": given}))
    assert (answered.status, answered.body) == (400, INVALID)
    assert made.bus.delivered == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n\t",
        b"{}",
        b'{"Status":"IDLE"}',
        b'{"state":"IDLE"}',
        b"null",
        b"[]",
        b'{"status":""}',
        b'{"status":" "}',
        b'{"status":null}',
        b"5",
        b'"IDLE"',
        b'["status"]',
    ],
)
def test_missing_field(body: bytes) -> None:
    answered, made = ask("POST", "/status", JSON, body)
    assert (answered.status, answered.body) == (400, MISSING)
    assert made.bus.delivered == []


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "text/json", "\xff"]
)
def test_wrong_content_type(content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    for body in (b'{"status":"IDLE"}', b"", b"{"):
        answered, _ = ask("POST", "/status", headers, body)
        assert (answered.status, answered.body) == (400, MISSING)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=x", "application/a+json"]
)
def test_other_names_of_json(content_type: str) -> None:
    answered, _ = ask("POST", "/status", {"content-type": content_type}, b'{"status":"IDLE"}')
    assert (answered.status, answered.body) == (200, UPDATED)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"status":"IDLE"',
        b'{"status":"IDLE"}}',
        b"{'status':'IDLE'}",
        b"status=IDLE",
        b'{"status":NaN}',
        b"[" * 50_000,
        b"\x00",
        '{"status":"IDLE"}'.encode("utf-16"),
        b'{"status":"\\ud800"}',
    ],
)
def test_malformed_json(body: bytes) -> None:
    answered, _ = ask("POST", "/status", JSON, body)
    assert answered.status == 400
    assert answered.error.startswith("Malformed JSON in request data: ")


def test_body_that_is_not_utf_8_is_malformed() -> None:
    answered, _ = ask("POST", "/status", JSON, b'{"status":"\xff"}')
    assert (answered.status, answered.error) == (400, "Malformed JSON in request data: byte 12 is not UTF-8")


def test_byte_order_mark_is_read_and_utf_16_is_named() -> None:
    answered, made = ask("POST", "/status", JSON, b'\xef\xbb\xbf{"status":"IDLE"}')
    assert (answered.status, [each.payload for each in made.bus.delivered]) == (200, [b'{"status":"IDLE"}'])
    for encoding in ("utf-16", "utf-16-le", "utf-32-be"):
        answered, _ = ask("POST", "/status", JSON, '{"status":"IDLE"}'.encode(encoding))
        assert "UTF-16" in answered.error


def test_repeated_field_is_refused() -> None:
    answered, made = ask("POST", "/status", JSON, b'{"status":"ERROR","x":"y","status":"IDLE"}')
    assert answered.status == 400
    assert "the name 'status' occurs twice" in str(answered.error)
    assert made.bus.delivered == []


def test_huge_body_is_413() -> None:
    answered, _ = ask("POST", "/status", JSON, [b'{"status":"IDLE"}', b" " * LARGEST_BODY_BYTES])
    assert (answered.status, answered.error) == (413, "the body is too large: at most 65536 bytes are taken")
    answered, _ = ask("POST", "/status", JSON, b'{"status":"IDLE"}' + b" " * (LARGEST_BODY_BYTES - 17))
    assert answered.status == 200


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "error"),
    [
        ("/status?id=x", {}, b"{", 400, "id is"),
        ("/status?id=2", {}, b"{", 400, "Missing"),
        ("/status?id=2", JSON, b"{" * 70_000, 413, "the body"),
        ("/status?id=2", JSON, b"{", 400, "Malformed"),
        ("/status?id=2", JSON, b"{}", 400, "Missing"),
        ("/status?id=2", JSON, b'{"status":"x"}', 400, "Invalid"),
        ("/status?id=2", JSON, b'{"status":"IDLE"}', 503, "there is no connection"),
        ("/data?id=x", {}, b"", 400, "id is"),
        ("/data?id=2", {}, b"", 503, "there is no connection"),
    ],
)
def test_answer_names_the_first_mistake(path: str, headers: dict[str, str], body: bytes, status: int, error: str) -> None:
    async def check() -> None:
        made = api()
        made.bus.there = False
        async with running(made.watch.run(made.bus)):
            await until(lambda: made.bus.pings)
            answered = await made.ask("GET" if "data" in path else "POST", path, headers, body)
        assert answered.status == status
        assert answered.error.startswith(error)

    asyncio.run(check())


def test_posted_status_is_in_the_next_reading() -> None:
    async def check() -> None:
        made = api()
        async with running(made.watch.run(made.bus)):
            await until(lambda: made.bus.pings)
            before = (await made.ask("GET", "/data")).body
            await made.ask("POST", "/status", JSON, b'{"status":"IDLE"}')
            assert (await made.ask("GET", "/data")).body == before
            made.machines.on_reading(reading(status="IDLE", timestamp="2024-11-03T13:40:55Z"))
            assert b'"status":"IDLE"' in (await made.ask("GET", "/data")).body

    asyncio.run(check())


async def recovered(bus: FakeBus) -> None:
    """Wait for a ping that begins now."""
    pings = bus.pings
    await until(lambda: bus.pings > pings + 1)


def test_frozen_broker_is_503_until_it_recovers() -> None:
    async def check() -> None:
        made = api()
        async with running(made.watch.run(made.bus)):
            await until(lambda: made.bus.pings)
            for _ in range(2):
                made.bus.freeze()
                for method, path in (("GET", "/data"), ("POST", "/status"), ("GET", "/health"), ("GET", "/data")):
                    answered = await made.ask(method, path, JSON, b'{"status":"IDLE"}')
                    assert (answered.status, answered.headers["retry-after"]) == (503, "2")
                    assert answered.error == "the broker has not answered within 0.1 s"
                assert made.bus.delivered == []
                made.bus.thaw()
                await recovered(made.bus)
                assert (await made.ask("GET", "/data")).status == 200

    asyncio.run(check())


def test_broker_that_freezes_before_the_ack_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.machine_api.routes.DELIVER_TIMEOUT_S", 0.05)

    async def check() -> None:
        made = api()
        ping = made.bus.ping

        async def last_ping(timeout_s: float) -> None:
            await ping(timeout_s)
            made.bus.freeze()

        async with running(made.watch.run(made.bus)):
            await until(lambda: made.bus.pings)
            monkeypatch.setattr(made.bus, "ping", last_ping)
            answered = await made.ask("POST", "/status", JSON, b'{"status":"IDLE"}')
        assert (answered.status, answered.headers["retry-after"]) == (503, "2")
        assert answered.error == "the broker has not answered within 0.05 s"

    asyncio.run(check())
