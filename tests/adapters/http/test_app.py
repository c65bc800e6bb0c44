"""The answers common to all HTTP adapters, without a server."""

import asyncio
import json
import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from adapters.http.app import application
from adapters.http.errors import BadRequest, JsonResponse, TooLarge
from adapters.http.openapi import answer, document
from adapters.http.resource import Resource, is_json, read_body
from adapters.http.watch import BrokerWatch
from broker.runtime.web_access import WebAccess
from tests.adapters.http.fakes import Answer, FakeBus, call, running, until

PATHS: dict[str, Any] = {
    "/echo": {"post": {"summary": "<b>Say</b> it again", "responses": {"200": answer("Again.", {"type": "string"}, a="&")}}}
}
DOCUMENT = document("Echo & co", "For tests.", PATHS, {})
EVERYTHING = "/echo, /slow, /bug, /health, /openapi.json, /docs"


async def echo(request: Request) -> Response:
    return JsonResponse((await read_body(request, 10)).decode())


async def slow(_request: Request) -> Response:
    await asyncio.sleep(3600)
    raise AssertionError


async def bug(_request: Request) -> Response:
    raise ZeroDivisionError("secret")


def app(watch: BrokerWatch | None = None, most_at_once: int = 10) -> ASGIApp:
    resources = [Resource("/echo", POST=echo), Resource("/slow", GET=slow), Resource("/bug", GET=bug)]
    return application(resources, DOCUMENT, watch or BrokerWatch(), WebAccess(), most_at_once)


def ask(method: str, path: str, headers: dict[str, str] | None = None, body: Any = b"") -> Answer:
    async def send() -> Answer:
        return await call(app(), method, path, headers, body)

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/", "/nothing", "/echo/", "/ECHO", "//echo", "/\u00e4"])
def test_other_path_is_404_and_names_the_known_ones(path: str) -> None:
    answered = ask("GET", path)
    assert answered.status == 404
    assert answered.error.endswith(f": try {EVERYTHING}")


def test_long_path_is_shortened_in_the_error() -> None:
    assert len(ask("GET", "/" + "x" * 5000).error) < 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_method_is_405_with_allow(method: str) -> None:
    answered = ask(method, "/echo")
    assert answered.status == 405
    assert answered.headers["allow"] == "OPTIONS, POST"
    assert answered.error == f"/echo has no {method}: it allows OPTIONS, POST"


def test_options_lists_the_methods() -> None:
    answered = ask("OPTIONS", "/docs")
    assert (answered.status, answered.headers["allow"], answered.body) == (204, "GET, HEAD, OPTIONS", b"")
    assert ask("OPTIONS", "/nothing").status == 404


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"", 200),
        ({}, b"0123456789", 200),
        ({}, b"0123456789A", 413),
        ({}, [b"01234", b"56789"], 200),
        ({}, [b"01234", b"56789", b"A"], 413),
        ({"content-length": "11"}, b"", 413),
        ({"content-length": "9" * 5000}, b"", 413),
        ({"content-length": "10"}, b"0123456789", 200),
    ],
)
def test_body_is_accepted_up_to_the_limit(headers: dict[str, str], body: Any, status: int) -> None:
    answered = ask("POST", "/echo", headers, body)
    assert answered.status == status
    if status == 413:
        assert answered.error == "the body is too large: at most 10 bytes are taken"


def test_endless_body_is_not_read_further() -> None:
    taken = iter([b"01234"] * 1000)

    async def check() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": next(taken), "more_body": True}

        with pytest.raises(TooLarge):
            await read_body(Request({"type": "http", "headers": []}, receive), 10)

    asyncio.run(check())
    assert len(list(taken)) == 997


def test_disconnect_within_the_body_is_not_a_bug() -> None:
    async def check() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        with pytest.raises(BadRequest):
            await read_body(Request({"type": "http", "headers": []}, receive), 10)

    asyncio.run(check())


def test_bug_is_500_without_a_traceback() -> None:
    async def check() -> None:
        answers: list[dict[str, Any]] = []

        async def send(event: Any) -> None:
            answers.append(event)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/bug", "headers": [], "query_string": b"", "root_path": ""}
        with pytest.raises(ZeroDivisionError):  # the server logs it
            await app()(scope, receive, send)
        assert answers[0]["status"] == 500
        assert json.loads(answers[1]["body"]) == {"error": "internal error: the log of this component says more"}

    asyncio.run(check())


def test_requests_beyond_the_limit_are_503_with_retry_after() -> None:
    async def check() -> None:
        served = app(most_at_once=2)
        tasks = [asyncio.create_task(call(served, "GET", "/slow")) for _ in range(2)]
        await asyncio.sleep(0)
        answered = await call(served, "GET", "/docs")
        assert (answered.status, answered.headers["retry-after"]) == (503, "2")
        assert answered.error == "2 requests are being answered already"
        tasks[0].cancel()
        assert (await tasks[0]).error == "this server is being stopped"
        assert (await call(served, "GET", "/docs")).status == 200
        tasks[1].cancel()
        await asyncio.wait(tasks)

    asyncio.run(check())


def test_health_follows_the_broker() -> None:
    async def check() -> None:
        bus, watch = FakeBus(), BrokerWatch(period_s=0.01)
        served = app(watch)
        answered = await call(served, "GET", "/health")
        assert (answered.status, answered.headers["retry-after"]) == (503, "2")
        assert answered.error == "the broker has not answered yet"
        async with running(watch.run(bus)):
            await until(lambda: bus.pings)
            answered = await call(served, "GET", "/health")
            assert (answered.status, answered.body) == (200, b'{"status":"ok"}')
            bus.there = False
            assert (await call(served, "GET", "/health")).error == "there is no connection to the broker"

    asyncio.run(check())


def test_document_includes_the_common_paths() -> None:
    answered = ask("GET", "/openapi.json")
    assert answered.headers["content-type"] == "application/json"
    document = json.loads(answered.body)
    assert list(document["paths"]) == ["/echo", "/health", "/openapi.json", "/docs"]
    answers = ["200", "400", "401", "403", "408", "421", "429", "431", "503"]
    assert list(document["paths"]["/echo"]["post"]["responses"]) == answers
    assert document["components"]["securitySchemes"]["login"]["scheme"] == "basic"


def test_page_is_self_contained_and_escaped() -> None:
    answered = ask("GET", "/docs")
    text = answered.body.decode()
    assert answered.headers["content-type"] == "text/html; charset=utf-8"
    assert answered.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "&lt;b&gt;Say&lt;/b&gt; it again" in text
    assert "Echo &amp; co" in text
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", text)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON ; charset=utf-8", True),
        ("application/json;charset=latin-1", True),
        ("application/vnd.api+json", True),
        ("text/json", False),
        ("application/jsonx", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
        (None, False),
    ],
)
def test_json_content_types(content_type: str | None, expected: bool) -> None:
    assert is_json(content_type) is expected
