"""What a page does: signing in, and publishing as the account that signed in, with a broker that the test plays."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import ASGIApp

from adapters.client.errors import NoReply
from adapters.web import sign_in
from adapters.web.sign_in import COOKIE, IDLE_S, LOST_S, TOKEN_HEADER, SignIns, WrongLogin
from broker.errors import BrokerUnavailable, LoginRefused, NotAllowed
from broker.message import Publication
from broker.mqtt.options import Address
from broker.runtime.clock import PlantClock
from tests.adapters.http.fakes import JSON, Answer, call
from tests.adapters.web.world import new_web

ADDRESS = Address(host="localhost", port=1)
RIGHT = {"name": "operator", "password": "right"}


class FakeAccount:
    """A connection of an account whose password is `right`; it may publish setpoints only."""

    made: list["FakeAccount"]
    there = True

    def __init__(self, address: Address, _clock: PlantClock) -> None:
        self.name, self._password = address.username, address.password
        self.lost_s: float | None = None
        self.closed = False
        self.published: list[Publication] = []
        self.made.append(self)

    async def connect(self) -> None:
        if not self.there:
            raise BrokerUnavailable("no broker at localhost:1")
        if self._password != "right":
            raise LoginRefused("bad user name or password")

    def close(self) -> None:
        self.closed = True

    async def deliver(self, publication: Publication) -> None:
        if not publication.topic.endswith("/setpoint"):
            raise NotAllowed("the broker refused it: the access rules do not allow it")
        self.published.append(publication)

    async def request(self, publication: Publication, answer_topic: str) -> bytes:
        if publication.payload == b"silent":
            raise NoReply("no whole reply")
        return json.dumps([publication.topic, answer_topic]).encode()


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> list[FakeAccount]:
    made: list[FakeAccount] = []
    monkeypatch.setattr(FakeAccount, "made", made, raising=False)
    monkeypatch.setattr(sign_in, "AccountBus", FakeAccount)
    return made


class Browser:
    """Keeps the cookie and the token, as a page does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.cookie = self.token = ""
        self.set_cookie = ""

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        sent = {"host": "localhost", **JSON, "cookie": f"{COOKIE}={self.cookie}", TOKEN_HEADER: self.token, **headers}
        answer = await call(self._app, "POST", path, sent, body if isinstance(body, bytes) else json.dumps(body).encode())
        if "set-cookie" in answer.headers:
            self.set_cookie = answer.headers["set-cookie"]
            self.cookie = self.set_cookie.split(";")[0].partition("=")[2]
        if answer.status == 200 and path == "/sign-in":
            self.token = json.loads(answer.body)["token"]
        return answer


def browse(steps: Callable[[Browser], Awaitable[None]]) -> None:
    async def run() -> None:
        await steps(Browser(new_web().app))

    asyncio.run(run())


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites() -> None:
    async def steps(browser: Browser) -> None:
        answer = await browser.post("/sign-in", RIGHT)
        assert (answer.status, json.loads(answer.body)["account"]) == (200, "operator")
        attributes = {each.strip().lower() for each in browser.set_cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= attributes

    browse(steps)


def test_a_wrong_password_is_401_and_soon_429() -> None:
    async def steps(browser: Browser) -> None:
        answers = [await browser.post("/sign-in", {"name": "operator", "password": "wrong"}) for _ in range(12)]
        assert answers[0].status == 401
        assert answers[0].error == "name or password is wrong"
        assert answers[-1].status == 429
        assert int(answers[-1].headers["retry-after"]) > 0

    browse(steps)


def test_a_missing_broker_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeAccount, "there", False)

    async def steps(browser: Browser) -> None:
        assert (await browser.post("/sign-in", RIGHT)).status == 503

    browse(steps)


def test_publishing_needs_a_session_and_its_token(accounts: list[FakeAccount]) -> None:
    setpoint = {"topic": "heating/room-1/setpoint", "payload": '{"celsius":21}', "retain": True}

    async def steps(browser: Browser) -> None:
        assert (await browser.post("/publish", setpoint)).status == 401
        await browser.post("/sign-in", RIGHT)
        forged = await browser.post("/publish", setpoint, **{TOKEN_HEADER: "guessed"})
        assert (forged.status, accounts[0].published) == (403, [])
        assert (await browser.post("/publish", setpoint, origin="https://evil.example")).status == 403
        assert (await browser.post("/publish", setpoint, **{"content-type": "text/plain"})).status == 415
        assert accounts[0].published == []
        assert (await browser.post("/publish", setpoint)).status == 200
        sent = accounts[0].published[0]
        assert (sent.topic, sent.payload, sent.retain) == ("heating/room-1/setpoint", b'{"celsius":21}', True)

    browse(steps)


def test_what_the_broker_refuses_is_403_with_the_reason() -> None:
    async def steps(browser: Browser) -> None:
        await browser.post("/sign-in", RIGHT)
        answer = await browser.post("/publish", {"topic": "storage/stats", "payload": "{}"})
        assert answer.status == 403
        assert answer.error.startswith("operator may not publish to storage/stats: ")

    browse(steps)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"topic":1}', b'{"topic":"","payload":""}', b'{"topic":"a","x":1}'])
def test_a_body_that_cannot_be_read_is_400(body: bytes) -> None:
    async def steps(browser: Browser) -> None:
        await browser.post("/sign-in", RIGHT)
        assert (await browser.post("/publish", body)).status == 400

    browse(steps)


def test_answers_go_to_topics_of_the_account() -> None:
    async def steps(browser: Browser) -> None:
        await browser.post("/sign-in", RIGHT)
        answer = await browser.post("/request", {"topic": "fastening/driver-1/request", "payload": "{}"})
        assert json.loads(answer.body) == ["fastening/driver-1/request", "fastening/driver-1/answer/operator/web"]
        answer = await browser.post("/request", {"topic": "energy/7/raw", "payload": "{}"})
        assert json.loads(answer.body) == ["energy/7/raw", "energy/answer/operator/web"]
        assert (await browser.post("/request", {"topic": "storage/query", "payload": "{}"})).status == 404
        assert (await browser.post("/request", {"topic": "charging/request", "payload": "silent"})).status == 503

    browse(steps)


def test_signing_out_ends_the_connection(accounts: list[FakeAccount]) -> None:
    async def steps(browser: Browser) -> None:
        await browser.post("/sign-in", RIGHT)
        assert (await browser.post("/sign-out", {})).status == 200
        assert accounts[0].closed
        assert (await browser.post("/publish", {"topic": "a", "payload": ""})).status == 401

    browse(steps)


def test_a_session_ends_with_its_account_or_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        sign_ins = SignIns(ADDRESS, PlantClock())
        cookie, session = await sign_ins.sign_in("operator", "right", "127.0.0.1")
        now_s = asyncio.get_running_loop().time()
        session.bus.lost_s = now_s - LOST_S / 2
        assert sign_ins.get(cookie) is session
        session.bus.lost_s = now_s - LOST_S - 1
        assert sign_ins.get(cookie) is None
        cookie, session = await sign_ins.sign_in("operator", "right", "127.0.0.1")
        session.used_s = now_s - IDLE_S - 1
        assert sign_ins.get(cookie) is None
        monkeypatch.setattr(sign_in, "MOST_SESSIONS", 2)
        cookies = [(await sign_ins.sign_in("operator", "right", "127.0.0.1"))[0] for _ in range(3)]
        assert [sign_ins.get(each) is not None for each in cookies] == [False, True, True]
        with pytest.raises(WrongLogin):
            await sign_ins.sign_in("operator", "", "127.0.0.1")

    asyncio.run(run())


@pytest.mark.parametrize("name", ["a/#", "+", "a/b", "a\n{}", "\x00"])
def test_a_name_of_no_account_never_reaches_the_broker(name: str) -> None:
    with pytest.raises(WrongLogin):
        asyncio.run(SignIns(ADDRESS, PlantClock()).sign_in(name, "right", "127.0.0.1"))
