"""Attacks on the page of this machine, and what goes on meanwhile."""

import asyncio
import http.client
import json
import subprocess
import threading
import time
from collections.abc import Coroutine
from contextlib import closing, suppress
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.web.component import MOST_PAGES
from tests.system.web.conftest import Plant, opened, password, run_aside, sign_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.xdist_group("page")]
EVIL = "https://evil.example"
SETPOINT = {"topic": "heating/room-9/setpoint", "payload": '{"celsius":7}', "retain": True}
TREE = json.dumps({"id": 1, "show": "tree", "open": [], "filter": "", "start": 0, "count": 60})
REASON_WITHIN_S = 1.0
SOCKETS = 1_000
LARGEST_PAYLOAD, MOST_MB = 200_000, 150
HANDSHAKE = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}


class Site:
    """A client that sends what it likes."""

    def __init__(self, plant: Plant) -> None:
        self.plant, self.cookie, self.token = plant, "", ""

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Content-Type": "application/json", "Cookie": self.cookie, **headers}
        with closing(http.client.HTTPConnection("127.0.0.1", self.plant.web_port, timeout=20)) as made:
            made.request("POST", path, json.dumps(body), sent)
            answer = made.getresponse()
            found = json.loads(answer.read())
            self.cookie = str(answer.headers.get("set-cookie", self.cookie)).partition(";")[0]
            self.token = found.get("token") or self.token
            return answer.status, found

    def get(self, path: str, **headers: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.plant.web_port, timeout=20)) as made:
            made.request("GET", path, headers=headers)
            return made.getresponse().status

    def live(self, **options: Any) -> int:
        """Return the status of a websocket's handshake."""

        async def run() -> int:
            try:
                async with connect(f"ws://127.0.0.1:{self.plant.web_port}/live", **options):
                    return 101
            except InvalidStatus as error:
                return error.response.status_code

        return run_aside(run())


def test_other_sites_can_neither_look_nor_act(plant: Plant) -> None:
    site = Site(plant)
    assert site.post("/sign-in", {"name": "operator", "password": password(plant)})[0] == 200
    token = {"X-Scaup-Token": site.token}
    for path in ("/publish", "/request", "/sign-out", "/sign-in", "/energy-file"):
        assert site.post(path, SETPOINT, Origin=EVIL, **token)[0] == 403
        assert site.post(path, SETPOINT, Origin="null", **token)[0] == 403
        assert site.post(path, SETPOINT, Host="evil.example", **token)[0] == 421
    for path in ("/publish", "/request", "/sign-out", "/energy-file"):
        for wrong in ("", "guess", site.token[:-1], site.token.swapcase(), "é" * 8):
            assert site.post(path, SETPOINT, **{"X-Scaup-Token": wrong.encode().decode("latin-1")})[0] == 403
        assert site.post(path, SETPOINT, Cookie="", **token)[0] == 401
    assert site.post("/publish", SETPOINT, **token, **{"Content-Type": "text/plain"})[0] == 415
    assert [site.live(origin=each) for each in (EVIL, "null", f"http://127.0.0.1:{plant.web_port}")] == [403, 403, 101]
    assert site.get("/live", Host="evil.example", Upgrade="websocket", Connection="Upgrade", **HANDSHAKE) == 421
    assert plant.query("SELECT 1 FROM messages WHERE topic = 'heating/room-9/setpoint'") == []


def test_a_refusal_is_on_the_screen_within_a_second(plant: Plant, browser: Any) -> None:
    with opened(browser, f"{plant.url}/topics?topic=storage/stats") as shown:
        sign_in(shown.page, "operator", password(plant))
        shown.page.get_by_role("button", name="Sign out").wait_for()
        began_s = time.monotonic()
        shown.page.get_by_role("button", name="Publish").click()
        shown.page.get_by_role("alert").filter(has_text="operator may not publish to storage/stats").wait_for()
        assert time.monotonic() - began_s < REASON_WITHIN_S


def test_a_thousand_wrong_logins_harm_only_the_guesser(plant: Plant) -> None:
    site, guesser = Site(plant), Site(plant)
    assert site.post("/sign-in", {"name": "operator", "password": password(plant)})[0] == 200
    began_s = time.monotonic()
    statuses = [guesser.post("/sign-in", {"name": f"guess-{n % 7}", "password": f"{n}"})[0] for n in range(SOCKETS)]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 60 + (time.monotonic() - began_s)
    assert site.post("/publish", SETPOINT, **{"X-Scaup-Token": site.token})[0] == 200
    assert site.post("/sign-in", {"name": "operator", "password": password(plant)})[0] == 200


class Crowd:
    """Websockets on a loop of their own, in a thread: playwright has the loop of this one."""

    def __init__(self, plant: Plant) -> None:
        self._url = f"ws://127.0.0.1:{plant.web_port}/live"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._sockets: list[ClientConnection] = []

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def add(self, count: int, request: str = "", reads: bool = True) -> None:
        """Open websockets that show what is requested; without `reads`, they read nothing."""
        self._run(self._add(count, request, reads))

    def close(self) -> None:
        """Close all of them."""
        self._run(self._close())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _add(self, count: int, request: str, reads: bool) -> None:
        for begun in range(0, count, 50):
            some = range(begun, min(begun + 50, count))
            made = await asyncio.gather(*(connect(self._url, compression=None, max_queue=1, open_timeout=30) for _ in some))
            for each in made:
                self._sockets.append(each)
                if request:
                    with suppress(ConnectionClosed):
                        await each.send(request)
                if not reads:
                    each.transport.pause_reading()

    async def _close(self) -> None:
        for each in self._sockets:
            each.transport.abort()
        await asyncio.gather(*(each.wait_closed() for each in self._sockets))


def test_idle_sockets_and_slow_readers_keep_no_one_out(plant: Plant, browser: Any) -> None:
    publish = ["mosquitto_pub", "-p", str(plant.broker.port), "-q", "1", "-s", "-t"]
    for number in range(20):
        subprocess.run([*publish, f"/readings/slow/{number}"], input=b"x" * LARGEST_PAYLOAD, check=True)
    everything = json.dumps({"id": 1, "show": "latest", "filters": ["#"]})
    process = psutil.Process(plant.processes["web"].pid)
    with opened(browser, f"{plant.url}/topics") as shown, Crowd(plant) as crowd:
        first = shown.page.get_by_role("tree").get_by_role("treeitem").first
        first.wait_for()
        before_mb = process.memory_info().rss / 1e6
        crowd.add(20, everything, reads=False)
        crowd.add(SOCKETS)
        shown.page.reload()
        first.wait_for()
        assert process.memory_info().rss / 1e6 < before_mb + MOST_MB
        spent_s = sum(process.cpu_times()[:2])
        time.sleep(1)
        assert sum(process.cpu_times()[:2]) - spent_s < 0.5
        assert shown.page.get_by_role("alert").count() == 0

        crowd.add(MOST_PAGES, TREE)
        with opened(browser, plant.url) as refused:
            refused.page.get_by_role("alert").filter(has_text="pages are open already").wait_for()
            assert shown.page.get_by_role("alert").count() == 0
            crowd.close()
            refused.page.get_by_role("table", name="Components").get_by_text("recorder").wait_for()
            refused.page.get_by_role("alert").wait_for(state="detached")
