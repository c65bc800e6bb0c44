"""The outermost layer: how many requests run at once, and what becomes of those that the stop does not wait for."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.http.errors import Unavailable, error_response

MOST_AT_ONCE = 1_000


class Gate:
    """An ASGI application around another one, which answers 503 beyond `most_at_once`."""

    def __init__(self, app: ASGIApp, most_at_once: int = MOST_AT_ONCE) -> None:
        self._app, self._most_at_once = app, most_at_once
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._running >= self._most_at_once:
            await _refuse(f"{self._most_at_once} requests are being answered already", scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:  # only the stopping server does that, and the task ends here
            with suppress(RuntimeError):  # its answer had begun
                await _refuse("this server is being stopped", scope, receive, send)
        finally:
            self._running -= 1


async def _refuse(text: str, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(Unavailable(text))(scope, receive, send)
