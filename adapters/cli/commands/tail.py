"""`scaup tail`: Show messages: the last ones, then live ones with -f."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import IO

import click

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options, since_option, topic_filter_argument
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.cli.output.values import as_cell
from adapters.cli.session import reconnect
from adapters.client import follow as following
from adapters.client.bus import Bus
from adapters.client.errors import ConnectionLost, Unreachable, WrongUsage
from adapters.client.history import COLUMNS, History, live_row, read
from adapters.client.recorder import RECORDER
from adapters.client.rows import ArrowRows, Row
from adapters.client.session import Session

_LINES = 10
_SESSION_S = 300
_WIDEST_LINE = 100_000
_LINES_HELP = f"The last N messages only; {_LINES} where --since is not given."


@click.command(epilog=examples("scaup tail '/readings/#' -n 20", "scaup tail 'heating/room-1/#' --since 10m -f"))
@topic_filter_argument
@since_option()
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help=_LINES_HELP)
@click.option("-f", "--follow", is_flag=True, help="Continue with live messages, until Ctrl-C.")
@output_options
@click.pass_obj
def tail(
    session: Session, topic_filter: str, since_at: datetime | None, lines: int | None, follow: bool, output: Output
) -> None:
    """Show messages: the last ones, then live ones with -f.

    FILTER is an MQTT filter with + and #; without it, every topic. With -f, no message is missing or shown twice between the
    recorded and the live messages, even if the connection is lost for a while. The received_at of a live message is the time
    of this machine.
    """
    if lines is None and since_at is None:
        lines = _LINES
    history = History(topic_filter=topic_filter, since_at=since_at, lines=lines)
    if follow:
        _follow(session, history, output)
    elif _can_be_live(output.format):
        with output.opened() as file:
            MessageWriter(file, output).write_all(read(session, history))
    else:
        output.write(read(session, history))


def _follow(session: Session, history: History, output: Output) -> None:
    if not _can_be_live(output.format):
        raise WrongUsage(f"{output.format.value} cannot be written row by row, which -f needs", "use -o jsonl or -o csv")
    with ExitStack() as stack:
        bus = stack.enter_context(session.bus(session_expiry_s=_SESSION_S))
        writer = MessageWriter(stack.enter_context(output.opened()), output)
        _Tail(session, bus, replace(history, cut=secrets.token_hex(16)), writer).run()


def _can_be_live(output_format: Format) -> bool:
    return output_format is Format.TABLE or output_format.by_row is not None


class MessageWriter:
    """Writes messages (rows of `COLUMNS`) one at a time; for people: time, topic and payload on one line."""

    def __init__(self, file: IO[bytes], output: Output) -> None:
        self._file, self._by_row, self._on_terminal = file, output.format.by_row, output.on_terminal
        if self._by_row is not None:
            file.write(self._by_row.header(COLUMNS))
            file.flush()

    def write(self, row: Row) -> None:
        """Write one message, to be seen at once."""
        self._file.write(self._line(row))
        self._file.flush()

    def write_all(self, rows: ArrowRows) -> None:
        """Write several messages."""
        for row in rows.rows():
            self._file.write(self._line(row))
        self._file.flush()

    def _line(self, row: Row) -> bytes:
        if self._by_row is not None:
            return self._by_row.line(COLUMNS, row)
        width = shutil.get_terminal_size().columns if self._on_terminal else _WIDEST_LINE
        return f"{_cut(_text(row), width)}\n".encode()


def _text(row: Row) -> str:
    received_at, _event_at, topic, payload, raw = row[:5]
    shown = as_cell(payload) if payload is not None else f"({len(raw or b'')} bytes)"
    return f"{as_cell(received_at)}  {as_cell(topic)}  {shown}"


def _cut(line: str, width: int) -> str:
    if len(line) * 2 <= width:
        return line
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


class _Tail:
    """One `tail -f`: the history, then live messages, also after a lost connection."""

    def __init__(self, session: Session, bus: Bus, history: History, writer: MessageWriter) -> None:
        self._session, self._bus, self._history, self._writer = session, bus, history, writer
        self._caught_up = False

    def run(self) -> None:
        events = self._first_events()
        while True:
            try:
                for event in events:
                    self._show(event)
            except ConnectionLost as lost:
                if not self._caught_up:
                    raise
                warn(f"{lost.message}; reconnecting")
            if not reconnect(self._bus, self._subscribe, resume=True):
                warn("the broker did not keep this session: messages are missing here, see `scaup tail --since`")
            events = following.live(self._bus, self._history.topic_filter)

    def _first_events(self) -> Iterator[following.Event]:
        if RECORDER.is_online(self._bus):
            return following.follow(self._bus, self._history)
        self._subscribe()
        self._show_file()
        self._caught_up = True
        return following.live(self._bus, self._history.topic_filter)

    def _show(self, event: following.Event) -> None:
        if isinstance(event, following.Live):
            self._writer.write(live_row(event.received))
        elif isinstance(event, ArrowRows):
            self._writer.write_all(event)
        else:
            self._caught_up = True

    def _show_file(self) -> None:
        try:
            self._writer.write_all(read(self._session, replace(self._history, cut=None)))
        except Unreachable as error:
            hint(f"no history: {error.message}")
        hint("no recorder is online: from here on live messages only, and they are not recorded")

    def _subscribe(self) -> None:
        following.subscribe(self._bus, self._history.topic_filter)
