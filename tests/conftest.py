"""Fixtures for everybody's tests."""

import signal
from collections.abc import Iterator

import duckdb
import pytest

from tests import real_broker
from tests.real_broker import RealBroker

# Where a shell started the tests in the background, SIGINT is ignored, and would be in every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"duckdb {duckdb.__version__}"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """One real broker for the whole session, on free ports: use topics of your own, leave it running."""
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
