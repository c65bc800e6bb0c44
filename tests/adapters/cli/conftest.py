"""Fixtures for the command line's tests."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from adapters.cli.main import cli
from tests.adapters.client.fakes import FakeBus, FakeRecorder, FakeSession, recording_bus

Scaup = Callable[..., Result]


@pytest.fixture
def bus() -> FakeBus:
    """A bus on which a recorder is online."""
    return recording_bus()


@pytest.fixture
def recorder(bus: FakeBus) -> FakeRecorder:
    """The recorder on `bus`."""
    assert bus.recorder is not None
    return bus.recorder


@pytest.fixture
def scaup(bus: FakeBus) -> Scaup:
    """Run the command line on `bus`, or on another session."""

    def run(*arguments: str, session: FakeSession | None = None, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, obj=session or FakeSession(bus), input=stdin)

    return run
