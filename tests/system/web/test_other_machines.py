"""The page from another machine: over TLS, with its own form as the login, and with nothing to see before it."""

import asyncio
import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.launcher.preflight import find_browser
from broker.contract.roles import Role
from broker.launch import accounts, certificates, mosquitto, tls
from broker.runtime.settings import ROOT, Settings
from tests import real_broker
from tests.real_broker import RealBroker, free_ports
from tests.system.web.conftest import opened, run_aside

pytestmark = [pytest.mark.system, pytest.mark.timeout(90), pytest.mark.xdist_group("page")]
PEOPLE = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "machine-7": Role.DEVICE}
EVIL = {"Origin": "https://evil.example"}
TREE = {"id": 1, "show": "latest", "filters": ["components/+/state"]}
START_S = 30.0


@dataclass
class Answer:
    """What came back, with the cookie that it set."""

    status: int
    content: Any
    headers: http.client.HTTPMessage

    @property
    def cookie(self) -> str:
        return str(self.headers.get("set-cookie", "")).partition(";")[0]


@dataclass
class Outside:
    """A broker and a page that are open to other machines, and `host`, an address of this machine as they see it."""

    broker: RealBroker
    host: str
    port: int
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.broker.data_dir / tls.AUTHORITY))

    def ask(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a GET, or a POST where there is a body."""
        made = http.client.HTTPSConnection(self.host, self.port, context=self.trust, timeout=10)
        try:
            sent = {"Content-Type": "application/json", **headers}
            made.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), sent)
            answer = made.getresponse()
            content = answer.read()
            is_json = "json" in answer.headers.get("content-type", "")
            return Answer(answer.status, json.loads(content) if is_json else content, answer.headers)
        finally:
            made.close()

    def sign_in(self, name: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers of a browser that signed in: for all requests, and for actions."""
        answer = self.ask("/sign-in", {"name": name, "password": self.passwords[name]})
        assert answer.status == 200
        cookie = {"Cookie": answer.cookie}
        return cookie, {**cookie, "X-Scaup-Token": answer.content["token"]}

    def live(self, headers: dict[str, str], *requests: Any, until_id: int = 1) -> Any:
        """Return the status of a refused websocket, or the first answer with an id that is not empty."""

        async def run() -> Any:
            url = f"wss://{self.host}:{self.port}/live"
            try:
                async with connect(url, ssl=self.trust, additional_headers=headers) as socket:
                    for each in requests:
                        await socket.send(json.dumps(each))
                    while (answer := json.loads(await asyncio.wait_for(socket.recv(), 10)))["id"] != until_id or answer.get(
                        "latest"
                    ) == []:
                        pass
                    return answer
            except InvalidStatus as error:
                return error.response.status_code

        return run_aside(run())


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder, port = tmp_path_factory.mktemp("outside-page"), free_ports(1)[0]
    bound = Settings.load({"SCAUP_DATA_DIR": str(folder), "SCAUP_BIND": "0.0.0.0"})
    hosts = [each for each in certificates.outside_addresses(bound) if ":" not in each]
    if not hosts:
        pytest.skip("this machine has no address beside loopback")
    certificates.ensure(bound)
    made = Outside(real_broker.create(folder, tls=True), hosts[0], port)
    known = accounts.read_accounts(folder)
    for name, role in PEOPLE.items():
        known[name], made.passwords[name] = accounts.new_account(name, role, (), datetime.now(UTC))
    accounts.write_accounts(folder, known.values())
    mosquitto.write_logins(folder, made.broker.declarations)
    environment = {**made.broker.environment, "SCAUP_WEB_PORT": str(port), "SCAUP_BIND": "0.0.0.0"}
    with ExitStack() as stack:
        made.broker.start()
        stack.callback(real_broker.remove, made.broker)
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen([sys.executable, "-m", "adapters.web"], env=environment, cwd=ROOT, stderr=log)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        deadline_s = time.monotonic() + START_S
        while not answers(made):
            assert time.monotonic() < deadline_s, (folder / "log").read_text()
            time.sleep(0.1)
        yield made


def answers(outside: Outside) -> bool:
    try:
        return outside.ask("/session").status == 200
    except OSError:
        return False


def test_nothing_but_the_empty_page_is_open(outside: Outside) -> None:
    for path in ("/", "/energy/7", "/static/app.js", "/vendor/lit-html.js"):
        assert outside.ask(path).status == 200
    assert outside.ask("/session").content == {"account": None, "token": None, "required": True}
    for path in ("/health", "/metrics", "/openapi.json", "/docs"):
        refused = outside.ask(path)
        assert (refused.status, "www-authenticate" in refused.headers) == (401, True)
    for path in ("/publish", "/request", "/sign-out"):  # a browser must not ask for a login by itself
        refused = outside.ask(path, {})
        assert (refused.status, "www-authenticate" in refused.headers) == (401, False)
    for cookie in ("", "scaup-session=", "scaup-session=guess"):
        assert outside.live({"Cookie": cookie}, TREE) == 401


def test_the_form_is_the_login(outside: Outside) -> None:
    assert outside.ask("/sign-in", {"name": "vera", "password": "wrong"}).status == 401
    device = outside.ask("/sign-in", {"name": "machine-7", "password": outside.passwords["machine-7"]})
    assert (device.status, "viewers of all" in device.content["error"]) == (403, True)
    component = (outside.broker.data_dir / "credentials" / "web").read_text().strip()
    assert outside.ask("/sign-in", {"name": "web", "password": component}).status == 401
    answer = outside.ask("/sign-in", {"name": "vera", "password": outside.passwords["vera"]})
    attributes = {each.strip().lower() for each in answer.headers["set-cookie"].split(";")}
    assert {"secure", "httponly", "samesite=strict"} <= attributes
    cookie = {"Cookie": answer.cookie}
    assert [each["topic"] for each in outside.live(cookie, TREE)["latest"]] == ["components/web/state"]
    assert "viewers may not" in outside.live(cookie, {"id": 2, "ask": "sql", "with": {"sql": "SELECT 1"}}, until_id=2)["error"]
    assert outside.ask("/health", **cookie).status in (200, 503)


def test_what_signed_in_still_needs_token_and_origin(outside: Outside) -> None:
    cookie, acting = outside.sign_in("otto")
    setpoint = {"topic": "heating/room-1/setpoint", "payload": '{"celsius":21}', "retain": True}
    assert outside.ask("/publish", setpoint, **cookie).status == 403
    assert outside.ask("/publish", setpoint, **acting, **EVIL).status == 403
    assert outside.live({**cookie, **EVIL}, TREE) == 403
    assert outside.ask("/publish", setpoint, **acting).status == 200
    _, viewing = outside.sign_in("vera")
    refused = outside.ask("/publish", setpoint, **viewing)
    assert (refused.status, "may not publish" in refused.content["error"]) == (403, True)


async def drain(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


def test_signing_out_ends_what_is_open(outside: Outside) -> None:
    cookie, acting = outside.sign_in("otto")

    async def run() -> int:
        url = f"wss://{outside.host}:{outside.port}/live"
        async with connect(url, ssl=outside.trust, additional_headers=cookie) as socket:
            await socket.recv()
            assert (await asyncio.to_thread(outside.ask, "/sign-out", {}, **acting)).status == 200
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(drain(socket), 3)
            return caught.value.rcvd.code if caught.value.rcvd else 0

    assert run_aside(run()) == 1008
    assert outside.live(cookie, TREE) == 401


@pytest.mark.skipif(find_browser() is None, reason="needs a browser: sudo apt-get install chromium")
def test_a_person_signs_in_with_the_form_and_sees_the_plant(outside: Outside, browser: Any) -> None:
    url = f"https://{outside.host}:{outside.port}/"
    with opened(browser, url, ignore_https_errors=True) as shown:
        page = shown.page
        page.get_by_role("alert").filter(has_text="Sign in").wait_for()
        assert page.get_by_role("table").count() == 0
        page.get_by_label("Name").fill("vera")
        page.get_by_label("Password").fill(outside.passwords["vera"])
        page.get_by_label("Password").press("Enter")
        page.get_by_role("table", name="Components").get_by_text("web").wait_for()
        page.reload()
        page.get_by_role("table", name="Components").get_by_text("web").wait_for()
        assert shown.problems == []
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("alert").filter(has_text="Sign in").wait_for()
        assert page.get_by_role("table").count() == 0
