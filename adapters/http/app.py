"""Puts an HTTP application together: its resources, those that every one has, and errors in JSON."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from adapters.http.docs import page
from adapters.http.errors import HttpError, JsonResponse, NotThere, error_response, on_bug, on_http_error
from adapters.http.gate import MOST_AT_ONCE, Gate
from adapters.http.resource import Answer, Resource, paths
from adapters.http.watch import BrokerWatch

_OFFLINE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_LONGEST_PATH = 200


def application(
    resources: list[Resource], document: dict[str, Any], watch: BrokerWatch, most_at_once: int = MOST_AT_ONCE
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        resources: what this adapter serves.
        document: its OpenAPI document, as `adapters.http.openapi.document` makes it.
        watch: knows whether the broker is there, for `/health`.
        most_at_once: requests beyond these are answered with 503.
    """
    everything = [*resources, *_common(document, watch)]
    app = Starlette(
        routes=[Route(each.path, each) for each in everything],
        exception_handlers={HTTPException: _on_no_route(everything), HttpError: on_http_error, Exception: on_bug},
    )
    app.router.redirect_slashes = False  # a redirect is no JSON
    return Gate(app, most_at_once)


def _common(document: dict[str, Any], watch: BrokerWatch) -> list[Resource]:
    return [
        Resource("/health", GET=_health(watch)),
        Resource("/openapi.json", GET=_fixed(JsonResponse(document))),
        Resource("/docs", GET=_fixed(HTMLResponse(page(document), headers=_OFFLINE))),
    ]


def _fixed(response: Response) -> Answer:
    async def answer(_request: Request) -> Response:
        return response

    return answer


def _health(watch: BrokerWatch) -> Answer:
    async def answer(_request: Request) -> Response:
        await watch.require()
        return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    return answer


def _on_no_route(resources: list[Resource]) -> Any:
    """Starlette's own errors; the only one that is left to it is 404."""

    async def answer(request: Request, error: HTTPException) -> Response:
        if error.status_code != 404:
            return error_response(HttpError(error.status_code, error.detail, error.headers))
        return error_response(NotThere(f"there is no {request.url.path[:_LONGEST_PATH]}: try {paths(resources)}"))

    return answer
