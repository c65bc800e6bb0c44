"""Puts an HTTP application together: its own resources, the common ones, errors in JSON, and a limit on requests at once."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.client.errors import ClientError
from adapters.http.access import AccessCheck, FormLogin, LoginCheck
from adapters.http.errors import (
    HttpError,
    JsonResponse,
    NotFound,
    Unavailable,
    error_response,
    on_bug,
    on_http_error,
    on_unavailable,
)
from adapters.http.openapi import page
from adapters.http.resource import Endpoint, Resource, paths
from adapters.http.watch import BrokerWatch
from adapters.outside.authentication import Authenticator
from broker.errors import BrokerUnavailable
from broker.runtime.web_access import WebAccess

MAX_CONCURRENT = 1_000
"""Requests at the same time."""

_OFFLINE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_LONGEST_PATH = 200


def application(
    resources: list[Resource],
    document: dict[str, Any],
    watch: BrokerWatch,
    access: WebAccess,
    max_concurrent: int = MAX_CONCURRENT,
    authenticator: Authenticator | None = None,
    others: Sequence[BaseRoute] = (),
    form: FormLogin | None = None,
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        resources: the resources of this adapter.
        document: its OpenAPI document, as made by `adapters.http.openapi.document`.
        watch: reports for `/health` whether the broker answers.
        access: from where browsers may use it.
        max_concurrent: requests beyond this number are answered with 503.
        authenticator: checks the logins of clients beyond this machine; None: there are none.
        others: routes of another kind, such as websockets.
        form: with which people log in on the page of this application; None: there is no page.
    """
    everything = [*resources, *_common(document, watch)]
    app = Starlette(
        routes=[*others, *(Route(each.path, each) for each in everything)],
        exception_handlers={
            HTTPException: _on_no_route(everything),
            HttpError: on_http_error,
            BrokerUnavailable: on_unavailable,
            ClientError: on_unavailable,
            Exception: on_bug,
        },
    )
    app.router.redirect_slashes = False  # a redirect has no JSON body
    limited: ASGIApp = _ConcurrencyLimit(app, max_concurrent)
    return AccessCheck(LoginCheck(limited, authenticator, form) if authenticator else limited, access)


def _common(document: dict[str, Any], watch: BrokerWatch) -> list[Resource]:
    return [
        Resource("/health", GET=_health(watch)),
        Resource("/openapi.json", GET=_fixed(JsonResponse(document))),
        Resource("/docs", GET=_fixed(HTMLResponse(page(document), headers=_OFFLINE))),
    ]


def _fixed(response: Response) -> Endpoint:
    async def answer(_request: Request) -> Response:
        return response

    return answer


def _health(watch: BrokerWatch) -> Endpoint:
    async def answer(_request: Request) -> Response:
        await watch.require()
        return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    return answer


def _on_no_route(resources: list[Resource]) -> Any:
    """Answer Starlette's own errors; resources leave only 404 to it."""

    async def answer(request: Request, error: HTTPException) -> Response:
        if error.status_code != 404:
            return error_response(HttpError(error.status_code, error.detail, error.headers))
        return error_response(NotFound(f"there is no {request.url.path[:_LONGEST_PATH]}: try {paths(resources)}"))

    return answer


class _ConcurrencyLimit:
    """Answers 503 beyond `max_concurrent` requests, and to those that a stop cuts off."""

    def __init__(self, app: ASGIApp, max_concurrent: int) -> None:
        self._app, self._max_concurrent = app, max_concurrent
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running >= self._max_concurrent:
            await _refuse(f"{self._max_concurrent} requests are being answered already", scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:  # only the stopping server cancels a request, and the task ends here
            with suppress(RuntimeError):  # the answer had begun
                await _refuse("this server is being stopped", scope, receive, send)
        finally:
            self._running -= 1


async def _refuse(text: str, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(Unavailable(text))(scope, receive, send)
