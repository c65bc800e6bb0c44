"""Errors of a request, and the JSON that answers them: always an object with `error`.

HttpError
├── BadRequest    400  the request cannot be understood
├── NotFound      404  there is nothing at this address
├── TooLarge      413  the body is larger than the limit
└── Unavailable   503  the broker, a component or this server cannot answer now; comes with `Retry-After`
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

RETRY_AFTER_S = 2
"""`Retry-After` of every 503."""


class HttpError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status code, 400 to 599.
        text: the mistake, for people, and its fix.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


class BadRequest(HttpError):
    """The request cannot be understood (400)."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)


class NotFound(HttpError):
    """There is nothing at this address (404)."""

    def __init__(self, text: str) -> None:
        super().__init__(404, text)


class TooLarge(HttpError):
    """The body is larger than `largest_bytes` (413)."""

    def __init__(self, largest_bytes: int) -> None:
        super().__init__(413, f"the body is too large: at most {largest_bytes} bytes are taken")


class Unavailable(HttpError):
    """The request cannot be answered now, and may be repeated (503)."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text, {"Retry-After": str(RETRY_AFTER_S)})


class JsonResponse(Response):
    """An answer in compact JSON; bytes are taken as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def error_body(text: str) -> bytes:
    """Return the body of every error."""
    return msgspec.json.encode({"error": text})


def error_response(error: HttpError) -> Response:
    """Return the answer for an error."""
    return JsonResponse(error_body(error.text), error.status, headers=error.headers)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer with the error that a resource raised."""
    assert isinstance(error, HttpError)
    return error_response(error)


async def on_unavailable(_request: Request, error: Exception) -> Response:
    """Answer with 503, and the text of a `BrokerUnavailable` or `ClientError`."""
    return error_response(Unavailable(str(error)))


async def on_bug(_request: Request, _error: Exception) -> Response:
    """Answer for a bug; its traceback goes to the log, not to the client."""
    return error_response(HttpError(500, "internal error: the log of this component says more"))
