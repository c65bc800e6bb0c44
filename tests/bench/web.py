"""Measure the page: `python -m tests.bench.web [--seconds 600]`. It needs Chromium.

- The server's work for a message, a window of the tree and a filter, with 100,000 topics.
- A year of a value every ten seconds, from the recorder's file to the points of a chart.
- A real browser on a real broker: the first load, a setpoint and a torque, and 100,000 topics at 5,000 messages a second.

Times of this machine count what else runs on it; the load average and processor times are printed beside them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psutil

from adapters.launcher.preflight import find_browser
from adapters.web.questions import series
from adapters.web.shown import TreeShown
from adapters.web.tap import Tap
from broker.contract.storage import questions
from broker.mqtt.options import Address
from broker.mqtt.packets import Delivery
from broker.runtime.settings import ROOT
from tests import real_broker
from tests.bench.figures import progress
from tests.real_broker import RealBroker, free_ports
from tests.system.independent_driver import REVERSED, driver, forward

SCAUP = (sys.executable, "-m", "adapters.cli.main")
START_S = 60.0
COMPARED = 1_000
TOPICS, RATE = 100_000, 5_000
YEAR_S, EVERY_S = 365 * 86_400, 10
OTHERS = 3
"""Messages of other topics between two of the year's."""
PUBLISH = """
import sys, time
import paho.mqtt.client as mqtt
port, topics, rate = map(int, sys.argv[1:])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", port)
client.loop_start()
sent, begun = 0, time.monotonic()
while True:
    due = int((time.monotonic() - begun) * rate)
    while sent < due:
        machine = sent % topics
        client.publish(f"machines/{machine}/reading", f'{{"id":{machine},"temperature":{sent % 97},"n":{sent}}}')
        sent += 1
    time.sleep(0.01)
"""


def name(number: int) -> str:
    """Return the topic of a number: 100 first levels, ten below each, and the rest below those."""
    return f"plant-{number % 100}/line-{number // 100 % 10}/m-{number}"


def measure_server() -> None:
    """Print the server's times for a message, a window and a filter."""
    tap = Tap(Address(host="127.0.0.1", port=1), "bench")
    deliveries = [Delivery(name(number), b'{"value":%d}' % number, 0, False, False, 0, b"") for number in range(TOPICS)]
    for delivery in deliveries:
        tap.on_deliveries([delivery])
    topics = tap.topics
    began_s = time.process_time()
    for delivery in deliveries:
        tap.on_deliveries([delivery])
    print(f"{TOPICS:,} topics")
    print(f"  a message: {(time.process_time() - began_s) / TOPICS * 1e6:.2f} µs of processor time")
    opened = {f"plant-{number}" for number in range(100)} | {f"plant-{number}/line-{number % 10}" for number in range(100)}
    for label, text, paths in (("a window", "", opened), ("a filter on names", "m-777", ()), ("on payloads", '"value":77', ())):
        times_s = []
        for _ in range(20):
            began_s = time.process_time()
            TreeShown(topics, paths, text, 5_000 if not text else 0, 60).update(3.0)
            times_s.append(time.process_time() - began_s)
        print(f"  {label}: {1000 * sorted(times_s)[10]:.1f} ms, worst of 20 {1000 * max(times_s):.1f} ms of processor time")


def measure_year() -> None:
    """Print how long the points of a year take."""
    with tempfile.TemporaryDirectory() as folder:
        database = duckdb.connect(str(Path(folder) / "year.duckdb"))
        rows = YEAR_S // EVERY_S * (OTHERS + 1)
        database.execute(
            "CREATE TABLE messages AS SELECT i AS number, "
            "make_timestamptz(1700000000000000 + i * ?::BIGINT) AS received_at, "
            "CASE WHEN i % ? = 0 THEN 'heating/room-1/state' ELSE 'heating/room-' || (2 + i % 37) || '/state' END AS topic, "
            """'{"level":' || i % 100 || ',"setpoint":22,"temperature":' || round(21 + sin(i / 5000), 2) || '}' AS payload, """
            "true AS retain, received_at AS event_at, 'heating' AS source, '01a2' AS boot FROM range(?) t(i)",
            [EVERY_S * 1_000_000 // (OTHERS + 1), OTHERS + 1, rows],
        )
        database.execute("CHECKPOINT")
        statement = questions.series("heating/room-1/state", "temperature", 1.7e9, 1.7e9 + YEAR_S, 1_200)
        times_s, found = [], {}
        for _ in range(7):
            began_s = time.perf_counter()
            cursor = database.execute(statement.sql, statement.parameters)
            columns = [each[0] for each in cursor.description or ()]
            found = series([dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])
            times_s.append(time.perf_counter() - began_s)
    print(f"a year at {EVERY_S} s: {found['count']:,} values among {rows:,} messages, {len(found['at']):,} points")
    print(f"  {sorted(times_s)[3]:.2f} s, worst of 7 {max(times_s):.2f} s")


@dataclass
class Plant:
    """A broker, some components and a browser, which end with the stack."""

    stack: ExitStack
    environment: dict[str, str]
    broker: RealBroker
    browser: Any
    processes: dict[str, "psutil.Process"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.environment['SCAUP_WEB_PORT']}"

    def run(self, *names: str) -> None:
        """Start components, and wait until they are online."""
        for name in names:
            started = start(self.stack, [*SCAUP, "run", name], self.environment)
            self.processes[name] = psutil.Process(started.pid)
        deadline_s = time.monotonic() + START_S
        while subprocess.run([*SCAUP, "status", *names], env=self.environment, cwd=ROOT, capture_output=True).returncode:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{', '.join(names)} did not start")
            time.sleep(0.3)

    def spent_s(self, name: str) -> float:
        """Return the processor time of a component."""
        times = self.processes[name].cpu_times()
        return float(times.user + times.system)


@contextmanager
def plant() -> Iterator[Plant]:
    """A broker and a browser; components are started by the bench."""
    from playwright.sync_api import sync_playwright

    broker = real_broker.create(Path(tempfile.mkdtemp()))
    environment = {**broker.environment, "SCAUP_WEB_PORT": str(free_ports(1)[0])}
    with ExitStack() as stack:
        stack.callback(real_broker.remove, broker)
        broker.start()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        yield Plant(stack, environment, broker, browser)


def measure_load() -> None:
    """Print after which time the page is usable: all components are in their table."""
    with plant() as made:
        made.run("recorder", "web")
        for label, slow in (("on loopback", False), ("4 times slower processor, 4G (9 Mbit/s, 170 ms)", True)):
            times_ms, bytes_ = [], 0
            for _ in range(5):
                context = made.browser.new_context(viewport={"width": 390, "height": 800} if slow else None)
                page = context.new_page()
                page.add_init_script(USABLE)
                session = context.new_cdp_session(page)
                if slow:
                    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
                    session.send("Network.enable")
                    session.send("Network.emulateNetworkConditions", FOUR_G)
                sizes: list[int] = []
                page.on("requestfinished", lambda each, sizes=sizes: sizes.append(each.sizes()["responseBodySize"]))
                page.goto(made.url)
                page.wait_for_function("() => window.usable")
                times_ms.append(page.evaluate("window.usable"))
                bytes_ = sum(sizes)
                context.close()
            print(f"first load, {label}: usable after {sorted(times_ms)[2]:.0f} ms, worst of 5 {max(times_ms):.0f} ms")
        print(f"  {bytes_ / 1000:.0f} kB of bodies")


def measure_actions(rounds: int) -> None:
    """Print how long a setpoint takes from the click, and a torque from the driver to the screen."""
    with plant() as made, driver(lambda _: []) as torque_driver:
        made.environment["SCAUP_TORQUE_DRIVER_URL"] = torque_driver.url
        made.run("recorder", "heating", "sim-rooms", "fastening", "torque-adapter", "web")
        page = made.browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{made.url}/heating/room-1")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Name").fill("operator")
        page.get_by_label("Password").fill((made.broker.data_dir / "credentials" / "operator").read_text().strip())
        page.get_by_label("Password").press("Enter")
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_role("spinbutton", name="Setpoint").wait_for()
        times_ms = sorted(page.evaluate(SET, 20 + number % 40 / 10) for number in range(rounds))
        print(f"setpoint, from the click to `acknowledged` on the screen: p50 {part(times_ms, 0.5):.0f} ms, "
              f"p95 {part(times_ms, 0.95):.0f} ms of {rounds}")  # fmt: skip
        page.goto(f"{made.url}/fastening/driver-1")
        page.get_by_role("textbox", name="Serial number").fill("RP-000120")
        page.get_by_role("textbox", name="Serial number").press("Enter")
        page.get_by_role("region", name="Job").get_by_text("Step 1 of 3").wait_for()
        page.evaluate(SEEN)
        times_ms = []
        for number in range(rounds):
            until(lambda: torque_driver.set_to[-1:] == ["10.0"])
            torque = round(20 + number / 1000, 3)  # out of range: the screw is loosened, and fastened again
            sent_ms = 1000 * time.time()
            torque_driver.send(forward(torque, 10.0))
            page.wait_for_function("torque => window.seen.has(torque)", arg=f"{torque:g}")
            times_ms.append(page.evaluate("torque => window.seen.get(torque)", f"{torque:g}") - sent_ms)
            until(lambda: torque_driver.set_to[-1:] == ["reverse"])
            torque_driver.send(REVERSED)
            page.wait_for_timeout(150)  # a screw takes longer
        times_ms.sort()
        print(f"torque, from the driver to the painted screen: p50 {part(times_ms, 0.5):.0f} ms, "
              f"p95 {part(times_ms, 0.95):.0f} ms of {rounds}")  # fmt: skip


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit("the job did not go on")
        time.sleep(0.002)


def measure_browser(seconds: int) -> None:
    """Print what a browser makes of 100,000 topics, and compare what it shows with the recording."""
    with plant() as made:
        made.run("recorder", "web")
        publisher = start(
            made.stack, [sys.executable, "-c", PUBLISH, str(made.broker.port), str(TOPICS), str(RATE)], made.environment
        )
        page = made.browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(
            "window.tasks = []; new PerformanceObserver(list => tasks.push(...list.getEntries().map(e => e.duration)))"
            ".observe({type: 'longtask', buffered: true});"
        )
        page.goto(f"{made.url}/topics")
        page.get_by_role("treeitem").first.wait_for()
        progress(f"{TOPICS:,} topics are coming for {TOPICS // RATE} s")
        page.wait_for_timeout(1000 * (TOPICS // RATE + 3))
        scripts = Scripts(page)
        watch(made, page, scripts, seconds)
        hide(page, scripts)
        publisher.terminate()
        publisher.wait()
        compare(made, page)


def watch(made: Plant, page: Any, scripts: "Scripts", seconds: int) -> None:
    """Filter and scroll, and print the figures."""
    began_s = time.perf_counter()
    page.reload()
    page.get_by_role("treeitem").first.wait_for()
    load = os.getloadavg()[0]
    print(f"a browser, {RATE:,} messages a second, load {load:.1f}: first rows after {time.perf_counter() - began_s:.2f} s")
    progress(f"it is watched for {seconds} s")
    page.evaluate("window.tasks = []")
    page.evaluate(ECHO_OPEN)
    heap_before = heap(page)
    spent_s, began_s = made.spent_s("web"), time.monotonic()
    own_s = scripts.spent_s()
    times_ms, plain_ms, round_ = [], [], 0
    while time.monotonic() - began_s < seconds:
        round_ += 1
        times_ms.append(page.evaluate(FILTER, f"machines/{1000 + 37 * round_ % 90_000}/"))
        page.get_by_role("searchbox", name="Filter").fill("")
        page.wait_for_timeout(400)
        plain_ms.append(page.evaluate(ECHO))
        page.wait_for_timeout(400)
    took_s = time.monotonic() - began_s
    tasks = sorted(page.evaluate("window.tasks"))
    times_ms.sort()
    plain_ms.sort()
    print(f"  filter, from the key to the painted row: p50 {part(times_ms, 0.5):.0f} ms, p95 {part(times_ms, 0.95):.0f} ms")
    print(f"  a request without work, for comparison: p50 {part(plain_ms, 0.5):.0f} ms, p95 {part(plain_ms, 0.95):.0f} ms")
    longest = tasks[-1] if tasks else 0.0
    print(f"  tasks over 50 ms: {len(tasks)}, over 100 ms: {sum(each > 100 for each in tasks)}, longest {longest:.0f} ms")
    print(f"  heap: {heap_before / 1e6:.1f} MB before, {heap(page) / 1e6:.1f} MB after")
    print(f"  scripts of the page: {100 * (scripts.spent_s() - own_s) / took_s:.1f} % of a core")
    web = made.processes["web"]
    cpu = (made.spent_s("web") - spent_s) / took_s
    print(f"  the web component: {100 * cpu:.0f} % of a core, {web.memory_info().rss / 2**20:.0f} MiB")
    print(f"  in {took_s:.0f} s; load {os.getloadavg()[0]:.1f}")


def hide(page: Any, scripts: "Scripts") -> None:
    """Print what a hidden page costs."""
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(7_000)
    own_s, began_s = scripts.spent_s(), time.monotonic()
    page.wait_for_timeout(10_000)
    print(f"  a hidden page: {100 * (scripts.spent_s() - own_s) / (time.monotonic() - began_s):.2f} % of a core")
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")


def compare(made: Plant, page: Any) -> None:
    """Compare 1,000 values on the page with the recording, when all has been recorded."""
    progress("values on the page are compared with the recording")
    chosen, deadline_s = random.sample(range(100, 1_000), 60), time.monotonic() + 120
    wrong, shown = [""], dict[str, str]()
    while wrong and time.monotonic() < deadline_s:  # both may be behind
        shown = {}
        for number in chosen:
            page.evaluate(FILTER, f"machines/{number}")
            page.wait_for_timeout(100)
            shown |= page.evaluate(VALUES)
        shown = dict(list(shown.items())[:COMPARED])
        names = "', '".join(shown)
        sql = f"SELECT topic, arg_max(payload, number) AS payload FROM messages WHERE topic IN ('{names}') GROUP BY topic"
        command = [*SCAUP, "query", "-o", "json", sql]
        answer = subprocess.run(command, env=made.environment, cwd=ROOT, capture_output=True, text=True)
        recorded = {row["topic"]: row["payload"] for row in json.loads(answer.stdout or "[]")}
        wrong = [topic for topic, value in shown.items() if recorded.get(topic) != value]
    print(f"  {len(shown):,} values on the page, {len(wrong)} unlike the recording")


USABLE = """
const look = () => document.querySelectorAll("table[aria-label=Components] tbody tr").length > 1
  ? requestAnimationFrame(() => (window.usable = performance.now())) : requestAnimationFrame(look);
requestAnimationFrame(look);
"""
FOUR_G = {"offline": False, "latency": 170, "downloadThroughput": 9e6 / 8, "uploadThroughput": 9e6 / 8}
SET = """async celsius => {
  const box = document.querySelector("input[name=celsius]");
  const wanted = new Intl.NumberFormat(navigator.language, {minimumFractionDigits: 1}).format(celsius);
  box.value = celsius;
  const begun = performance.now();
  [...document.querySelectorAll("button")].find(each => each.textContent.trim() === "Set").click();
  const status = () => [...document.querySelectorAll("[role=status]")].map(each => each.textContent).join();
  const done = () => status().includes(`${wanted} °C acknowledged`);
  await new Promise(requestAnimationFrame);
  while (!done() && performance.now() - begun < 10000) await new Promise(requestAnimationFrame);
  const took = performance.now() - begun;
  await new Promise(resolve => setTimeout(resolve, 50));
  return took;
}"""
SEEN = """() => {
  window.seen = new Map();
  new MutationObserver(() => requestAnimationFrame(() => {
    const found = document.querySelector(".verdict")?.textContent.match(/: ([0-9.]+)/);
    if (found && !window.seen.has(found[1])) window.seen.set(found[1], Date.now());
  })).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""
ECHO_OPEN = """() => new Promise(resolve => {
  window.echo = new WebSocket(`ws://${location.host}/live`);
  window.echo.onopen = () => resolve();
})"""
ECHO = """() => new Promise(resolve => {
  const begun = performance.now();
  window.echo.onmessage = event => JSON.parse(event.data).id === 9 && resolve(performance.now() - begun);
  window.echo.send(JSON.stringify({id: 9, show: "topic", topic: "storage/none"}));
})"""
VALUES = """() => {
  const found = {}, levels = [];
  for (const row of document.querySelectorAll("[role=treeitem]")) {
    const depth = Number(row.getAttribute("aria-level")) - 1;
    levels.length = depth;
    levels[depth] = row.querySelector(".level").textContent;
    const value = row.querySelector(".value")?.textContent;
    if (value?.startsWith("{") && levels[0] === "machines") found[levels.join("/")] = value;
  }
  return found;
}"""
FILTER = """async wanted => {
  const box = document.querySelector("input[type=search]"), begun = performance.now();
  box.value = wanted;
  box.dispatchEvent(new Event("input"));
  while (![...document.querySelectorAll("[role=treeitem]")].some(row => row.textContent.includes(wanted.split("/")[1]))) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - begun > 5000) return 5000;
  }
  return performance.now() - begun;
}"""


def part(values: list[float], share: float) -> float:
    """Return a percentile of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]


def heap(page: Any) -> float:
    """Return the bytes of the page's heap after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])


class Scripts:
    """The processor time of a page's main thread."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_s(self) -> float:
        metrics = {each["name"]: each["value"] for each in self._session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])


def start(stack: ExitStack, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process that ends with the bench."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60, help="how long the browser is watched")
    parser.add_argument("--only", choices=("server", "year", "load", "actions", "browser"))
    options = parser.parse_args()
    if options.only in (None, "server"):
        measure_server()
    if options.only in (None, "year"):
        measure_year()
    if find_browser() is None:
        return
    if options.only in (None, "load"):
        measure_load()
    if options.only in (None, "actions"):
        measure_actions(100)
    if options.only in (None, "browser"):
        measure_browser(options.seconds)


if __name__ == "__main__":
    main()
