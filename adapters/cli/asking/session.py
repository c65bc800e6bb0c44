"""What every command is given: the settings, and ways to the broker and to the recorder."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.declaration import OPERATOR
from adapters.cli.errors import NoRecorder, Unreachable
from broker.address import Address, broker_address
from broker.settings import Settings

if TYPE_CHECKING:
    from adapters.cli.asking.answers import Answer
    from adapters.cli.asking.bus import Bus
    from broker.contract.storage import QueryRequest


class Session:
    """One run of the command line. Tests put a bus of their own here."""

    _said_file = False
    """Whether it was said that the file answers: once is enough for a command that asks many questions."""

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            InvalidSetting: a value cannot be used.
        """
        return Settings.load()

    @property
    def _address(self) -> Address:
        return broker_address(self.settings, OPERATOR.name)

    def bus(self, session_expiry_s: int = 0) -> "AbstractContextManager[Bus]":
        """Connect to the broker for the time of a `with` block.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.cli.asking.bus import connected

        return connected(self._address, session_expiry_s=session_expiry_s)

    def login(self, account: str | None, password: str | None) -> "AbstractContextManager[Bus]":
        """Connect with another account, or without one, for the time of a `with` block.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.cli.asking.bus import connected

        return connected(replace(self._address, username=account, password=password))

    @contextmanager
    def ask(self, request: "QueryRequest") -> "Iterator[Answer]":
        """Ask the recorder, or the database file where no recorder runs.

        Raises:
            CommandError: neither can answer, or the answer is an error.
        """
        from adapters.cli.asking import answers

        with ExitStack() as stack:
            try:
                bus = stack.enter_context(self.recording_bus())
            except Unreachable as away:
                answer = stack.enter_context(self._ask_file(request, away))
            else:
                answer = answers.from_recorder(bus, request)
            yield answer

    @contextmanager
    def recording_bus(self) -> "Iterator[Bus]":
        """Connect to a broker that has a recorder.

        Raises:
            NoRecorder: the broker has none.
            Stalled: it has one that cannot commit now.
            Unreachable: there is no broker.
        """
        from adapters.cli.asking.recorder import is_online, refuse_stalled

        with self.bus() as bus:
            if not is_online(bus):
                refuse_stalled(bus)
                raise NoRecorder(f"no recorder is online at {self.settings.mqtt_host}:{self.settings.mqtt_port}", _START)
            yield bus

    @contextmanager
    def _ask_file(self, request: "QueryRequest", away: Unreachable) -> "Iterator[Answer]":
        from adapters.cli.asking import answers

        path = self.settings.database
        if not path.exists():
            raise Unreachable(f"{away.message}, and there is no database at {path}", _START)
        if not self._said_file:
            hint(f"{away.message}: answering from {path.name} itself")
            self._said_file = True
        with answers.from_file(path, request) as answer:
            yield answer


_START = "start everything with `make up`, or name its folder with SCAUP_DATA_DIR"


def hint(text: str) -> None:
    """Say something beside the result: on standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Warn on standard error."""
    click.echo(click.style(f"Warning: {text}", fg="yellow") if sys.stderr.isatty() else f"Warning: {text}", err=True)


def rows_of(session: Session, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Ask for an answer that fits into memory, as one mapping per row.

    Raises:
        CommandError: nobody can answer, or the answer is an error.
    """
    from adapters.cli.asking.answers import arrow_request

    with session.ask(arrow_request(sql, parameters or {}, None, None)) as answer:
        columns = answer.rows.columns
        return [dict(zip(columns, row, strict=True)) for row in answer.rows.rows()]
