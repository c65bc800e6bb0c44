"""Fixtures and markers for all tests."""

import signal
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import duckdb
import hypothesis
import pytest

from tests import real_broker
from tests.real_broker import RealBroker

# Where a shell started the tests in the background, SIGINT is ignored, and would be in every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else the machine does: the timeout of each test bounds it.
hypothesis.settings.register_profile("scaup", deadline=None)
hypothesis.settings.load_profile("scaup")


LONGEST_ID = 60


def pytest_report_header() -> str:
    return f"duckdb {duckdb.__version__}"


_OUTSIDE = (
    "duckdb",
    "http.client",
    "pty",
    "schemathesis",
    "socket",
    "storage.database.database",
    "subprocess",
    "tests.real_broker",
    "uvicorn",
    "websockets.asyncio",
    "websockets.sync",
)
"""Modules through which a test leaves its process, or opens a database. What they do not show is marked `integration`."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark unit tests; keep tests that share a module's fixture in one worker (`--dist loadgroup`)."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        fixtures = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
        if any(each.scope in ("module", "class") for each in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        modules = {item.module.__name__, *(each.func.__module__ for each in fixtures)}
        if not any(map(item.get_closest_marker, ("system", "integration"))) and not any(map(_leads_outside, modules)):
            item.add_marker("unit")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten the ids of long values: a process that a test starts has the id in its environment, where room is limited."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!r}...{len(val)}"
    return None


@cache
def _leads_outside(name: str) -> bool:
    """Return whether a module is one of `_OUTSIDE`, or a module of the tests that leads to one; they may use one another."""
    seen: set[str] = {"tests.conftest"}
    waiting = {name}
    while waiting:
        each = waiting.pop()
        if each.startswith(_OUTSIDE):
            return True
        seen.add(each)
        if each.startswith("tests."):
            waiting |= _used_by(each) - seen
    return False


@cache
def _used_by(name: str) -> frozenset[str]:
    """Return the modules that a module of the tests has imported, or has imported something from."""
    values = vars(sys.modules[name]).values()
    used = {each.__name__ if isinstance(each, ModuleType) else getattr(each, "__module__", None) for each in values}
    return frozenset(each for each in used if isinstance(each, str))


_left: list[str] = []
"""What the running test did outside its process."""


def _note(event: str, _arguments: object) -> None:
    if event in ("socket.bind", "socket.connect", "subprocess.Popen"):
        _left.append(event)


sys.addaudithook(_note)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail unit tests that use sockets or start processes."""
    _left.clear()
    yield
    if _left and item.get_closest_marker("unit"):
        pytest.fail(f"{_left[0]} in a unit test: mark it with pytest.mark.integration")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """One real broker for the whole session, on free ports: use your own topics and leave it running."""
    yield from _running(real_broker.create(tmp_path_factory.mktemp("broker")))


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """A real broker for one test, which may stop, kill and restart it."""
    yield from _running(real_broker.create(tmp_path_factory.mktemp("own-broker")))


def _running(created: RealBroker) -> Iterator[RealBroker]:
    try:
        created.start()
        yield created
    finally:
        real_broker.remove(created)
