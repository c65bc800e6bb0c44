"""What every command is given: the settings, and ways to the broker and to the recorder."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from adapters.client.declaration import OPERATOR
from adapters.client.errors import NoRecorder, Unreachable
from broker.mqtt.options import Address
from broker.runtime.settings import Settings

if TYPE_CHECKING:
    import duckdb

    from adapters.client.answers import Answer
    from adapters.client.bus import Bus
    from broker.contract.storage.topics import QueryRequest


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
        return self.settings.broker_address(OPERATOR.name)

    def bus(self, session_expiry_s: int = 0) -> "AbstractContextManager[Bus]":
        """Connect to the broker for the time of a `with` block.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.client.paho_bus import connected

        return connected(self._address, session_expiry_s=session_expiry_s)

    def login(self, account: str | None, password: str | None) -> "AbstractContextManager[Bus]":
        """Connect with another account, or without one, for the time of a `with` block.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.client.paho_bus import connected

        return connected(replace(self._address, username=account, password=password))

    @contextmanager
    def ask(self, request: "QueryRequest") -> "Iterator[Answer]":
        """Ask the recorder, or the database file where no recorder runs.

        Raises:
            CommandError: neither can answer, or the answer is an error.
        """
        from adapters.client import answers

        with ExitStack() as stack:
            try:
                bus = stack.enter_context(self.recording_bus())
            except Unreachable as away:
                connection = stack.enter_context(closing(self.open_file(away)))
                answer = answers.from_file(connection, request)
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
        from adapters.client.recorder import is_online, refuse_stalled

        with self.bus() as bus:
            if not is_online(bus):
                refuse_stalled(bus)
                where = f"{self.settings.mqtt_host}:{self.settings.mqtt_port}"
                raise NoRecorder(f"no recorder is online at {where}", f"start it with `make up`; if it runs, {_LOOK}")
            yield bus

    def open_file(self, away: Unreachable) -> "duckdb.DuckDBPyConnection":
        """Open the database file, read-only, since the recorder is `away`; say so once.

        Raises:
            Unreachable: there is no file, a recorder has it open, or it cannot be opened.
        """
        path = self.settings.database
        if not path.exists():
            raise Unreachable(f"{away.message}, and there is no database at {path}", _START)
        from storage.errors import DatabaseLocked, StorageError
        from storage.query.sandbox import open_read_only

        try:
            connection = open_read_only(path)
        except DatabaseLocked as error:
            raise _held(away, error) from error
        except StorageError as error:
            raise Unreachable(str(error), _START) from error
        if not self._said_file:
            hint(f"{away.message}: answering from {path.name} itself")
            self._said_file = True
        return connection


_START = "start everything with `make up`, or name its folder with SCAUP_DATA_DIR"
_LOOK = "`scaup logs recorder` says why it is not connected; SCAUP_MQTT_HOST and SCAUP_MQTT_PORT must name its broker"


def _held(away: Unreachable, error: Exception) -> Unreachable:
    held = str(error).rpartition(": ")[0]  # the rest is for a second recorder
    return Unreachable(
        f"{held}, most likely the recorder, which answers over its broker only; and {away.message}",
        _LOOK if isinstance(away, NoRecorder) else away.fix,
    )


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
    from adapters.client.answers import arrow_request

    with session.ask(arrow_request(sql, parameters or {}, None, None)) as answer:
        columns = answer.rows.columns
        return [dict(zip(columns, row, strict=True)) for row in answer.rows.rows()]
