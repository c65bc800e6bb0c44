"""A running plant with its page, and a browser to look at it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from adapters.client.answers import arrow_request
from adapters.client.session import Session
from adapters.launcher.preflight import find_browser
from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import RealBroker, free_ports

sync_api = pytest.importorskip("playwright.sync_api")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
T = TypeVar("T")
COMPONENTS = ("recorder", "heating", "sim-rooms", "web")
TIME_SCALE = "60"
START_S = 40.0


@dataclass
class Plant:
    """A broker, some components as processes, and the address of the page."""

    broker: RealBroker
    web_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings of components that start from now on."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.web_port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {"SCAUP_WEB_PORT": str(self.web_port), "SCAUP_TIME_SCALE": TIME_SCALE}
        return {**self.broker.environment, **own, **self.settings}

    def start(self, *names: str) -> None:
        """Start components, and wait until they are online."""
        for name in names:
            with (self.broker.data_dir / f"{name}.log").open("ab") as log:
                command = [sys.executable, "-m", "adapters.cli.main", "run", name]
                self.processes[name] = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=log)
        deadline_s = time.monotonic() + START_S
        while self.scaup("status", *names).returncode:
            assert time.monotonic() < deadline_s, [(self.broker.data_dir / f"{name}.log").read_text() for name in names]
            time.sleep(0.2)

    def kill(self, name: str) -> None:
        """Kill a component without notice."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def scaup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `scaup`."""
        command = [sys.executable, "-m", "adapters.cli.main", *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query to the recorder."""
        session = Session()
        session.settings = self.broker.settings
        with session.query(arrow_request(sql, {}, None, None)) as answer:
            return [row for batch in answer.rows.batches()[1] for row in batch.to_pylist()]

    def stop(self) -> None:
        """Stop all components."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)


@pytest.fixture(scope="package")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A heated room, its recorder and its page."""
    if find_browser() is None:
        pytest.skip("needs a browser: sudo apt-get install chromium")
    broker = real_broker.create(tmp_path_factory.mktemp("page"))
    created = Plant(broker, free_ports(1)[0])
    with ExitStack() as stack:
        stack.callback(real_broker.remove, broker)
        broker.start()
        stack.callback(created.stop)
        created.start(*COMPONENTS)
        yield created


@pytest.fixture(scope="package")
def browser(plant: Plant) -> Iterator[Any]:
    """A browser without a window. It is the same for all tests; each opens a page of its own."""
    del plant  # first: without it there is nothing to look at
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield started
        started.close()


def run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: playwright has the loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def password(plant: Plant) -> str:
    """Return the operator's password."""
    return (plant.broker.data_dir / "credentials" / "operator").read_text().strip()


def sign_in(page: Any, name: str, secret: str) -> None:
    """Sign in with the page's form."""
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(secret)
    page.get_by_label("Password").press("Enter")


@dataclass
class Opened:
    """A page, and the problems that it reported."""

    page: Any
    problems: list[str]


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Opened]:
    """Open a page in a context of its own; console errors, errors of scripts and requests to other hosts are problems."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    problems: list[str] = []
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("console", lambda each: problems.append(each.text) if each.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda each: None if each.url.startswith(url.split("/", 3)[0]) else problems.append(each.url))
    try:
        page.goto(url)
        yield Opened(page, problems)
    finally:
        context.close()
