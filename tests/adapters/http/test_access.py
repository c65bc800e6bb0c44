"""HTTP requests that browsers send for a page: whose pages are admitted, and what CORS answers."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from adapters.http.app import application
from adapters.http.errors import JsonResponse
from adapters.http.openapi import document
from adapters.http.resource import Resource
from adapters.http.watch import BrokerWatch
from broker.runtime.settings import LOOPBACK
from broker.runtime.web_access import WebAccess
from tests.adapters.http.fakes import Answer, call

CLOSED, LISTED = WebAccess(), WebAccess(LOOPBACK, frozenset(), ("https://plant.example",))
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


def ask(access: WebAccess, method: str, path: str = "/data", **headers: str) -> tuple[Answer, int]:
    """Return the answer, and how often the resource was reached."""
    reached = 0

    async def endpoint(_request: Request) -> Response:
        nonlocal reached
        reached += 1
        return JsonResponse({})

    app = application([Resource("/data", GET=endpoint, POST=endpoint)], document("T", "", {}, {}), BrokerWatch(), access)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(call(app, method, path, {"host": "localhost:5000"} | given, b"{}")), reached


@pytest.mark.parametrize("path", ["/data", "/docs", "/nothing"])
def test_request_under_a_foreign_name_is_refused(path: str) -> None:
    answer, reached = ask(CLOSED, "GET", path, host="evil.example:5000")
    assert (answer.status, reached) == (421, 0)
    assert "SCAUP_HOST_NAMES" in answer.error


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("access", [CLOSED, LISTED])
def test_page_of_a_foreign_site_is_refused(method: str, access: WebAccess) -> None:
    answer, reached = ask(access, method, origin="https://evil.example")
    assert (answer.status, reached) == (403, 0)
    assert "SCAUP_CORS_ORIGINS" in answer.error
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_own_page_needs_no_listing() -> None:
    answer, reached = ask(CLOSED, "POST", origin="http://localhost:5000")
    assert (answer.status, reached) == (200, 1)


def test_page_of_a_listed_site_may_read_the_answer() -> None:
    answer, reached = ask(LISTED, "POST", origin="https://plant.example")
    assert (answer.status, reached) == (200, 1)
    assert answer.headers["access-control-allow-origin"] == "https://plant.example"
    assert answer.headers["vary"] == "Origin"


def test_preflight_of_a_listed_site_is_answered() -> None:
    answer, reached = ask(LISTED, "OPTIONS", origin="https://plant.example", **PREFLIGHT)
    assert (answer.status, reached) == (200, 0)
    assert answer.headers["access-control-allow-origin"] == "https://plant.example"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Content-Type" in answer.headers["access-control-allow-headers"]


def test_preflight_is_not_answered_where_no_site_is_listed() -> None:
    answer, _ = ask(CLOSED, "OPTIONS", origin="https://plant.example", **PREFLIGHT)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
