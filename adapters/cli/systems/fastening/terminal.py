"""The operator's terminal: lines typed, lines shown, a menu, and the signals that end it.

Typed lines are polled without waiting, so the bus is served meanwhile and Ctrl-C arrives at once.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, TextIO

import click

from adapters.cli.notices import CommandFailed, hint
from adapters.cli.streams import discard_stdout
from adapters.cli.systems.fastening.lines import Line, Tone
from adapters.client.errors import ClientError
from broker.errors import BusError

_CHUNK = 4096
_COLOURS = {Tone.GOOD: "green", Tone.BAD: "red"}
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Keyboard(Protocol):
    """The source of the operator's lines."""

    def line(self, timeout_s: float | None = 0.0) -> str | None:
        """Return the next line without its end, None if there is none in time; without a time, wait for it.

        Raises:
            EOFError: the input has ended.
        """
        ...

    def discard_typed(self) -> None:
        """Discard what was typed before a question; input from a pipe stays."""
        ...


class DescriptorKeyboard:
    """A terminal, a pipe or a file, read from its descriptor, so that nothing is left in Python's buffers."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def line(self, timeout_s: float | None = 0.0) -> str | None:
        """Return the next line, None if there is none in time."""
        while b"\n" not in self._pending:
            if not select.select([self._descriptor], [], [], timeout_s)[0]:
                return None
            if not (chunk := self._read()):
                return self._last()
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def discard_typed(self) -> None:
        """Discard what was typed on a terminal."""
        if os.isatty(self._descriptor):
            import termios

            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            self._pending = b""

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the terminal was closed
            return b""

    def _last(self) -> str:
        rest, self._pending = self._pending, b""
        if not rest:
            raise EOFError
        return rest.decode("utf-8", "replace")


class StreamKeyboard:
    """A stream in memory."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def line(self, timeout_s: float | None = 0.0) -> str | None:  # noqa: ARG002
        """Return the next line."""
        found = self._stream.readline() if self._stream is not None else ""
        if not found:
            raise EOFError
        return found.rstrip("\n")

    def discard_typed(self) -> None:
        """Do nothing: this input was not typed."""


def standard_input() -> Keyboard:
    """Return the keyboard for standard input, which may be closed."""
    try:
        return DescriptorKeyboard(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # None, closed, or without a descriptor
        return StreamKeyboard(sys.stdin)


class OutputClosed(Exception):
    """The reader of standard output has closed it."""


class Screen:
    """Shows lines: results on standard output, hints on standard error."""

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines, each one at once.

        Raises:
            OutputClosed: the pipe or the terminal was closed.
        """
        for line in lines:
            if line.hint:
                with suppress(OSError):
                    click.echo(line.text, err=True)
            else:
                _write(line)


def coloured() -> bool:
    """Return whether standard output may have colours: on a terminal that has them, without `NO_COLOR` (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _write(line: Line) -> None:
    colour = _COLOURS.get(line.tone) if coloured() else None
    try:
        click.echo(click.style(line.text, fg=colour) if colour else line.text, color=bool(colour))
    except OSError as error:
        discard_stdout()
        raise OutputClosed from error


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the menu; without an action it ends the menu."""

    text: str
    act: Callable[[], None] | None = None


def show_menu(choices: Sequence[Choice], keyboard: Keyboard) -> None:
    """Offer the choices until one without an action is chosen or the input ends; an error ends only its choice."""
    while True:
        for number, each in enumerate(choices, start=1):
            hint(f"{number} {each.text}")
        if (line := ask_line(f"Choose (1-{len(choices)}):", keyboard)) is None:
            return
        chosen = chosen_from(choices, line)
        if isinstance(chosen, str):
            hint(chosen)
        elif chosen.act is None:
            return
        else:
            _try(chosen.act)
        hint("")


def ask_line(question: str, keyboard: Keyboard) -> str | None:
    """Ask for a line that is not blank; None where the input ends."""
    while True:
        hint(question)
        try:
            line = (keyboard.line(None) or "").strip()
        except EOFError:
            return None
        if line:
            return line


def chosen_from(choices: Sequence[Choice], line: str) -> Choice | str:
    """Return the choice with the typed number or beginning of its text; else an error text."""
    wanted = line.strip().casefold()
    found = [(n, each) for n, each in enumerate(choices, start=1) if wanted in (str(n), each.text[:1].casefold())]
    found = found or [(n, each) for n, each in enumerate(choices, start=1) if each.text.casefold().startswith(wanted)]
    if len(found) == 1:
        return found[0][1]
    if not found:
        return f"{line!r} is not in the menu: type a number from 1 to {len(choices)}, or a first letter."
    return f"{line!r} may be {' or '.join(f'{n} {each.text}' for n, each in found)}: type the number."


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except ClientError as error:
        CommandFailed(error).show()
    except BusError as error:
        hint(f"Error: {error}")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `KeyboardInterrupt` in a `with` block, unless they are ignored (nohup).

    A closed terminal or a polite kill then ends a job as Ctrl-C does: the driver is reset and the job can be resumed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, _interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
