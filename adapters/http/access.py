"""Who may send requests: web pages by their site, and clients beyond this machine by their login."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Protocol

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.http.errors import HttpError, error_response
from adapters.http.protocol import REMOTE
from adapters.outside.acceptor import AcceptedClient
from adapters.outside.authentication import Authenticator, Refused, may_publish, may_read
from adapters.outside.basic import CHALLENGE
from broker.contract.roles import Role
from broker.launch.accounts import Account
from broker.runtime.web_access import WebAccess

MOST_REQUESTS, MOST_CONNECTIONS = 16, 100
"""Of one account beyond this machine, at the same time."""
FOR_ALL = frozenset(("/health", "/openapi.json", "/docs"))
"""What every account may read."""
BY_TOPIC = frozenset(("/data", "/status"))
"""What checks itself, by `require_topic`, for which of its things a device posts, and what a viewer with topics reads."""
BY_SESSION = frozenset(("/sign-in", "/sign-out", "/publish", "/request", "/energy-file"))
"""What the web page posts: it signs in with an account, and the broker decides what that one may."""
CHECK_S = 1.0
"""How often the account of an open websocket is checked."""
ACCOUNT = "account"
"""Name in a request's state of the account that logged in; absent: the request is from this machine."""
POLICY_VIOLATION = 1008
_ENCRYPTED = ("https", "wss")
_METHODS = ("GET", "HEAD", "POST")


class FormLogin(Protocol):
    """A page on which people log in with a form, over TLS, in place of HTTP Basic."""

    def is_open(self, method: str, path: str) -> bool:
        """Return whether a request needs no login: the page itself, and its form."""
        ...

    def is_own(self, path: str) -> bool:
        """Return whether the page's scripts ask for a path: then the browser must not ask for a login by itself."""
        ...

    def account(self, connection: HTTPConnection) -> Account | None:
        """Return the account that logged in with the form, None if none did or it has changed since."""
        ...


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
                allow_headers=["Authorization"],
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


class LoginCheck:
    """A layer around an application that demands a login of clients beyond this machine (401), and checks their roles (403).

    Devices post, viewers read, operators and administrators do both. Devices, and viewers that were given topics, are refused
    where no topic is checked.

    Args:
        app: the application.
        authenticator: checks HTTP Basic logins.
        form: of a page; None: there is no page.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, form: FormLogin | None = None) -> None:
        self._app, self._authenticator, self._form = app, authenticator, form
        self._running: Counter[str] = Counter()
        """Requests of each account that are being answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        remote: AcceptedClient | None = scope.get("state", {}).get(REMOTE)
        if remote is None:
            await self._app(scope, receive, send)
            return
        try:
            account = self._admit(remote, scope)
        except HttpError as error:
            await error_response(error)(scope, receive, send)
            return
        if account is None:
            await self._app(scope, receive, send)
            return
        scope["state"][ACCOUNT] = account
        self._running[account.name] += 1
        try:
            if scope["type"] == "websocket":
                await self._serve_while_current(remote, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._running[account.name] -= 1
            if not self._running[account.name]:
                del self._running[account.name]

    async def _serve_while_current(self, remote: AcceptedClient, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a websocket until it is closed, or the account is removed or changed."""
        serving = asyncio.ensure_future(self._app(scope, receive, send))
        try:
            while not serving.done() and self._is_current(remote, scope):
                await asyncio.wait({serving}, timeout=CHECK_S)
            if serving.done():
                serving.result()
                return
            serving.cancel()
            await asyncio.wait({serving})
            with suppress(RuntimeError):  # it was closed meanwhile
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "the account has changed"})
        finally:
            serving.cancel()

    def _is_current(self, remote: AcceptedClient, scope: Scope) -> bool:
        if self._form is not None and not Headers(scope=scope).getlist("authorization"):
            return self._form.account(HTTPConnection(scope)) is not None
        return self._authenticator.is_current(remote)

    def _admit(self, remote: AcceptedClient, scope: Scope) -> Account | None:
        """Return the account of a request, None if it needs none.

        Raises:
            HttpError: there is no login (401), or it may not do this (403, 429).
        """
        given, known = Headers(scope=scope).getlist("authorization"), remote.account
        if self._form is not None and not given and scope["scheme"] in _ENCRYPTED:
            remote.account = account = self._form.account(HTTPConnection(scope))
            if account is None:
                _require_open(self._form, scope)
                return None
        else:
            found = self._authenticator.login(remote, given, asyncio.get_running_loop().time())
            if isinstance(found, Refused):
                raise HttpError(found.status, found.text, found.headers)
            account = found
        if known is not account and remote.connections_of(account.name) > MOST_CONNECTIONS:
            remote.account = None
            raise _too_many(f"{account.name} has {MOST_CONNECTIONS} connections open already")
        remote.admitted()
        if self._running[account.name] >= MOST_REQUESTS:
            raise _too_many(f"{MOST_REQUESTS} requests of {account.name} are being answered already")
        _check_role(account, scope.get("method", "GET"), scope["path"])
        return account


def account_of(connection: HTTPConnection) -> Account | None:
    """Return the account that logged in, None for clients on this machine."""
    account: Account | None = connection.scope.get("state", {}).get(ACCOUNT)
    return account


def require_topic(request: Request, topic: str) -> None:
    """Check that a request may post what goes to `topic`, or get what came from it; requests from this machine may.

    Raises:
        HttpError: its account may not (403).
    """
    account = account_of(request)
    if account is None:
        return
    posts = request.method == "POST"
    if not (may_publish(account, topic) if posts else may_read(account, topic)):
        verb = "publish to" if posts else "read"
        raise HttpError(403, f"{account.name} may not {verb} {topic}: `scaup account list` shows what it may")


def _check_role(account: Account, method: str, path: str) -> None:
    if method == "OPTIONS" or path in FOR_ALL:
        return
    if method == "POST" and account.role is Role.VIEWER and path not in BY_SESSION:
        raise HttpError(403, f"{account.name} is a viewer, which may only read: post as a device or an operator")
    if method != "POST" and account.role is Role.DEVICE:
        raise HttpError(403, f"{account.name} is a device, which may only post: read as a viewer or an operator")
    if path not in BY_TOPIC and (account.role is Role.DEVICE or account.topics):
        raise HttpError(403, f"{account.name} has a part of the topics only: {path} is for viewers of all, and operators")


def _require_open(form: FormLogin, scope: Scope) -> None:
    """Check that a request needs no login.

    Raises:
        HttpError: it needs one (401).
    """
    if scope["type"] == "http" and form.is_open(scope["method"], scope["path"]):
        return
    text = "sign in first: on the page, or with HTTP Basic and an account of `scaup account`"
    raise HttpError(401, text, {} if form.is_own(scope["path"]) else {"WWW-Authenticate": CHALLENGE})


def _too_many(text: str) -> HttpError:
    return HttpError(429, f"{text}: wait for the answers", {"Retry-After": "1"})
