"""One path with its methods, and the body of a request."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.http.errors import BadRequest, HttpError, TooLarge

T = TypeVar("T")

Endpoint = Callable[[Request], Awaitable[Response]]


class Resource:
    """An ASGI application for one path. HEAD follows GET, OPTIONS lists the methods, and any other method is a 405.

    Args:
        path: path in Starlette's syntax, such as `/data` or `/ships/{ship}`.
        endpoints: functions that answer a method, by its name, for example `GET`.
    """

    def __init__(self, path: str, **endpoints: Endpoint) -> None:
        self.path = path
        self._endpoints = endpoints
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]
        self._allow = ", ".join(sorted({*self._endpoints, "OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            HttpError: 405, or raised by the endpoint.
        """
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        endpoint = self._endpoints.get(request.method)
        if endpoint is not None:
            return await endpoint(request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allow})
        text = f"{self.path} has no {request.method}: it allows {self._allow}"
        raise HttpError(405, text, {"Allow": self._allow})


def paths(resources: Iterable[Resource]) -> str:
    """Return the paths, for people."""
    return ", ".join(each.path for each in resources)


async def read_body(request: Request, largest_bytes: int) -> bytes:
    """Read the whole body. The protocol limits how long it may take.

    Args:
        request: a request whose body has not been read.
        largest_bytes: size limit.

    Raises:
        TooLarge: the body is larger, or its Content-Length is, in which case nothing is read.
        BadRequest: the client disconnected before the end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > largest_bytes:
        raise TooLarge(largest_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest_bytes:
                raise TooLarge(largest_bytes)
    except ClientDisconnect:
        raise BadRequest("the body ended early") from None
    return bytes(body)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` for a request without a body, and stop it as soon as the client disconnects.

    Raises:
        BadRequest: the client has disconnected.
    """
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise BadRequest("the client disconnected before its answer")
        return tasks[0].result()
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def is_json(content_type: str | None) -> bool:
    """Return whether a Content-Type is JSON (`+json`: RFC 6839 section 3.1). Parameters are ignored, since JSON is UTF-8."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
