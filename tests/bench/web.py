"""Measure the page: `python -m tests.bench.web [--seconds 600]`. It needs Chromium.

- The server's work for a message, a window of the tree and a filter, with 100,000 topics.
- A year of a value every ten seconds, from the recorder's file to the points of a chart.
- A real browser on a real broker: 100,000 topics at 5,000 messages a second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
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
from tests.real_broker import free_ports

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


def measure_browser(seconds: int) -> None:
    """Print what a browser makes of it."""
    from playwright.sync_api import sync_playwright

    broker = real_broker.create(Path(tempfile.mkdtemp()))
    (web_port,) = free_ports(1)
    environment = {**broker.environment, "SCAUP_WEB_PORT": str(web_port)}
    with ExitStack() as stack:
        stack.callback(real_broker.remove, broker)
        broker.start()
        web = start(stack, [sys.executable, "-m", "adapters.cli.main", "run", "web"], environment)
        start(stack, [sys.executable, "-c", PUBLISH, str(broker.port), str(TOPICS), str(RATE)], environment)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(
            "window.tasks = []; new PerformanceObserver(list => tasks.push(...list.getEntries().map(e => e.duration)))"
            ".observe({type: 'longtask', buffered: true});"
        )
        deadline_s = time.monotonic() + 30
        while True:
            try:
                page.goto(f"http://localhost:{web_port}/topics")
                break
            except Exception:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.3)
        watch(page, psutil.Process(web.pid), seconds)


def watch(page: Any, web: psutil.Process, seconds: int) -> None:
    """Let the topics come, then filter and scroll, and print the figures."""
    page.get_by_role("treeitem").first.wait_for()
    progress(f"{TOPICS:,} topics are coming for {TOPICS // RATE} s")
    page.wait_for_timeout(1000 * (TOPICS // RATE + 3))
    began_s = time.perf_counter()
    page.reload()
    page.get_by_role("treeitem").first.wait_for()
    print(f"a browser, {RATE:,} messages a second: first rows after {time.perf_counter() - began_s:.2f} s")
    page.evaluate("window.tasks = []")
    heap_before = heap(page)
    spent_s, began_s = web.cpu_times().user + web.cpu_times().system, time.monotonic()
    box, times_ms, round_ = page.get_by_role("searchbox", name="Filter"), [], 0
    while time.monotonic() - began_s < seconds:
        round_ += 1
        wanted = f"machines/{1000 + 37 * round_}/"
        times_ms.append(page.evaluate(FILTER, wanted))
        box.fill("")
        page.wait_for_timeout(900)
    tasks = sorted(page.evaluate("window.tasks"))
    cpu = (web.cpu_times().user + web.cpu_times().system - spent_s) / (time.monotonic() - began_s)
    times_ms.sort()
    print(f"  filter, from the key to the row: p50 {part(times_ms, 0.5):.0f} ms, p95 {part(times_ms, 0.95):.0f} ms")
    over = [each for each in tasks if each > 100]
    print(
        f"  tasks over 50 ms: {len(tasks)} in {seconds} s, over 100 ms: {len(over)}, longest {tasks[-1] if tasks else 0:.0f} ms"
    )
    print(f"  heap: {heap_before / 1e6:.1f} MB before, {heap(page) / 1e6:.1f} MB after")
    print(f"  the web component: {100 * cpu:.0f} % of a core, {web.memory_info().rss / 2**20:.0f} MiB")


FILTER = """async wanted => {
  const box = document.querySelector("input[type=search]"), begun = performance.now();
  box.value = wanted;
  box.dispatchEvent(new Event("input"));
  while (![...document.querySelectorAll("[role=treeitem]")].some(row => row.textContent.includes(wanted.split("/")[1]))) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - begun > 20000) return 20000;
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
    parser.add_argument("--only", choices=("server", "year", "browser"))
    options = parser.parse_args()
    if options.only in (None, "server"):
        measure_server()
    if options.only in (None, "year"):
        measure_year()
    if options.only in (None, "browser") and find_browser() is not None:
        measure_browser(options.seconds)


if __name__ == "__main__":
    main()
