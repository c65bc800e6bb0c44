"""Writing the console's lines: results to standard output, at once; hints to standard error."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

import click

from adapters.cli.systems.fastening.lines import Line, Tone

_COLOURS = {Tone.GOOD: "green", Tone.BAD: "red"}


class OutputClosed(Exception):
    """Nobody reads standard output any more."""


class Screen:
    """Standard output and standard error."""

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines, each one at once.

        Raises:
            OutputClosed: the pipe or the terminal is gone.
        """
        for line in lines:
            if line.hint:
                with suppress(OSError):
                    click.echo(line.text, err=True)
            else:
                _write(line)


def coloured() -> bool:
    """Tell whether standard output may have colours: a terminal that knows them, and no `NO_COLOR` (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _write(line: Line) -> None:
    colour = _COLOURS.get(line.tone) if coloured() else None
    try:
        click.echo(click.style(line.text, fg=colour) if colour else line.text, color=bool(colour))
    except OSError as error:
        _forget_output()
        raise OutputClosed from error


def _forget_output() -> None:
    """Let what is still buffered go nowhere, or Python complains about the closed pipe when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
