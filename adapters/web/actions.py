"""What a page does: sign in and out, and publish as the account that signed in."""

import asyncio
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.client.errors import ClientError
from adapters.http.errors import BadRequest, HttpError, JsonResponse, NotFound, Unavailable
from adapters.http.protocol import REMOTE
from adapters.http.resource import Resource, is_json, read_body
from adapters.outside.authentication import Authenticator
from adapters.web.energy_file import EnergyFiles
from adapters.web.form_login import may_see
from adapters.web.sign_in import COOKIE, IDLE_S, TOKEN_HEADER, SignedIn, SignIns, TooManyLogins, WrongLogin, has_token
from broker.contract.charging import topics as charging
from broker.contract.energy import topics as energy
from broker.contract.fastening import topics as fastening
from broker.contract.storage.topics import JSON
from broker.errors import BrokerUnavailable, InvalidTopic, NotAllowed
from broker.launch.accounts import Account
from broker.message import Publication
from broker.stream import AnyStream

LARGEST_BODY = 8 * 1024 * 1024
_FRESH = {"Cache-Control": "no-store"}


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to sign in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    password: Annotated[str, msgspec.Meta(max_length=1000)]


class Publish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to publish; an empty payload with `retain` removes a retained message."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=65_535)]
    payload: str
    retain: bool = False


REQUESTS: tuple[tuple[AnyStream, AnyStream, str], ...] = (
    (fastening.REQUEST, fastening.ANSWER, "console"),
    (charging.REQUEST, charging.ANSWER, "client"),
    (energy.RAW, energy.ANSWER, "client"),
)
"""Streams of requests, those of their answers, and the level of the answer's topic that names who asked."""


class Actions:
    """Answers the requests of a page that change something.

    Args:
        sign_ins: of browsers.
        authenticator: checks the accounts of browsers on other machines; None: there are none.
    """

    def __init__(self, sign_ins: SignIns, authenticator: Authenticator | None = None) -> None:
        self._sign_ins, self._authenticator, self._files = sign_ins, authenticator, EnergyFiles()

    def resources(self) -> list[Resource]:
        """Return the resources."""
        return [
            Resource("/session", GET=self.session),
            Resource("/sign-in", POST=self.sign_in),
            Resource("/sign-out", POST=self.sign_out),
            Resource("/publish", POST=self.publish),
            Resource("/request", POST=self.request),
            Resource("/energy-file", POST=self.energy_file),
        ]

    async def session(self, request: Request) -> Response:
        """Answer with the account that signed in, the token for its actions, and whether nothing is shown without it."""
        return _described(self._sign_ins.get(request.cookies.get(COOKIE)), _is_barred(request))

    async def sign_in(self, request: Request) -> Response:
        """Sign in. The cookie is not readable by scripts, and no other site can make the browser send it.

        Raises:
            HttpError: 401 or 429, or the broker cannot be reached (503).
        """
        login = await _read(request, Login)
        client = request.client.host if request.client is not None else ""
        try:
            cookie, session = await self._sign_ins.sign_in(login.name, login.password, client)
            if _is_barred(request):
                session.account = self._seeing(cookie, login)
            self._sign_ins.sign_out(request.cookies.get(COOKIE))
        except WrongLogin as error:
            raise HttpError(401, str(error)) from error
        except TooManyLogins as error:
            raise HttpError(429, str(error), {"Retry-After": str(int(error.wait_s) + 1)}) from error
        except BrokerUnavailable as error:
            raise Unavailable(str(error)) from error
        response = _described(session, _is_barred(request))
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, cookie, max_age=int(IDLE_S), httponly=True, samesite="strict", secure=secure)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Sign out."""
        self._require(request)
        self._sign_ins.sign_out(request.cookies.get(COOKIE))
        response = _described(None, _is_barred(request))
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def publish(self, request: Request) -> Response:
        """Publish a message, and answer once the broker has acknowledged it.

        Raises:
            HttpError: not signed in (401), not allowed (403), no such topic (400), or no broker (503).
        """
        session = self._require(request)
        wanted = await _read(request, Publish)
        begun_s = asyncio.get_running_loop().time()
        try:
            await session.bus.deliver(Publication(topic=wanted.topic, payload=wanted.payload.encode(), retain=wanted.retain))
        except InvalidTopic as error:
            raise BadRequest(str(error)) from error
        except NotAllowed as error:
            raise HttpError(403, f"{session.bus.name} may not publish to {wanted.topic[:200]}: {error}") from error
        except BrokerUnavailable as error:
            raise Unavailable(str(error)) from error
        took_ms = 1000 * (asyncio.get_running_loop().time() - begun_s)
        return JsonResponse({"topic": wanted.topic, "acknowledged_ms": round(took_ms, 1)}, headers=_FRESH)

    async def request(self, request: Request) -> Response:
        """Publish a request that a component answers, and answer with its answer.

        Raises:
            HttpError: as for `publish`; 404 for a topic that is none of requests, 503 without an answer.
        """
        session = self._require(request)
        wanted = await _read(request, Publish)
        answer_topic = _answer_topic(wanted.topic, session.bus.name)
        publication = Publication(topic=wanted.topic, payload=wanted.payload.encode(), content_type=JSON)
        try:
            payload = await session.bus.request(publication, answer_topic)
        except NotAllowed as error:
            raise HttpError(403, f"{session.bus.name} may not publish to {wanted.topic[:200]}: {error}") from error
        except ClientError as error:
            raise Unavailable(str(error)) from error
        return Response(payload, headers=_FRESH, media_type=JSON)

    async def energy_file(self, request: Request) -> Response:
        """Post the consumption in a file.

        Raises:
            HttpError: not signed in (401), or as for `EnergyFiles.post`.
        """
        session = self._require(request)
        return await self._files.post(request, session.bus.request, session.bus.name)

    def _seeing(self, cookie: str, login: Login) -> Account:
        """Return the account of a browser on another machine, which may see the page.

        Raises:
            HttpError: it may not (403), or is none of a person or device (401).
        """
        account = self._authenticator.verify(login.name, login.password) if self._authenticator is not None else None
        if account is not None and may_see(account):
            return account
        self._sign_ins.sign_out(cookie)
        if account is None:
            raise HttpError(401, "name or password is wrong")
        raise HttpError(403, f"{login.name} has a part of the topics only: the page is for viewers of all, and operators")

    def _require(self, request: Request) -> SignedIn:
        session = self._sign_ins.get(request.cookies.get(COOKIE))
        if session is None:
            raise HttpError(401, "sign in first")
        if not has_token(session, request.headers.get(TOKEN_HEADER)):
            raise HttpError(403, f"the request has no valid {TOKEN_HEADER}: load the page again")
        return session


def _answer_topic(topic: str, account: str) -> str:
    """Return the topic of the answers to requests on `topic`. All pages of an account share one, and so a driver.

    Raises:
        NotFound: it is no topic of requests.
    """
    for asked, answered, level in REQUESTS:
        if (levels := asked.template.parse(topic)) is not None:
            named = {name: value for name, value in levels.items() if f"{{{name}}}" in answered.template.text}
            return answered.template.topic(**{**named, level: f"{account}/web"})
    raise NotFound(f"requests cannot be sent to {topic[:200]!r}")


def _is_barred(request: Request) -> bool:
    """Return whether a request is from another machine, and has no HTTP Basic login: then the form is the login."""
    return REMOTE in request.scope.get("state", {}) and not request.headers.getlist("authorization")


def _described(session: SignedIn | None, barred: bool) -> Response:
    name, token = (None, None) if session is None else (session.bus.name, session.token)
    return JsonResponse({"account": name, "token": token, "required": barred}, headers=_FRESH)


async def _read(request: Request, shape: type[Any]) -> Any:
    if not is_json(request.headers.get("content-type")):
        raise HttpError(415, "the body must be JSON: send Content-Type: application/json")
    try:
        return msgspec.json.decode(await read_body(request, LARGEST_BODY), type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
