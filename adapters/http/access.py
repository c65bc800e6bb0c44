"""Refuses requests of web pages that have no business here, and answers those of listed sites as CORS requires."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.http.errors import HttpError, error_response
from broker.runtime.web_access import WebAccess

_METHODS = ("GET", "HEAD", "POST")


class AccessCheck:
    """A layer around an application that checks `Host` (421) and `Origin` (403) of every request.

    Pages of listed origins get the headers that let them read the answers, and an answer to their preflight.
    """

    def __init__(self, app: ASGIApp, access: WebAccess) -> None:
        self._access = access
        self._app = app
        if access.origins:
            self._app = CORSMiddleware(
                app,
                allow_origins=access.origins,
                allow_methods=_METHODS,
                expose_headers=["Retry-After"],
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if (text := self._access.refuse_host(hosts)) is not None:
            await error_response(HttpError(421, text))(scope, receive, send)
        elif (text := self._access.refuse_origin(origins, hosts)) is not None:
            await error_response(HttpError(403, text))(scope, receive, send)
        else:
            await self._app(scope, receive, send)
