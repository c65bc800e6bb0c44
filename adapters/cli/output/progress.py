"""Progress of long work, on standard error where that is a terminal."""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import click

from adapters.cli.output.destination import Output

if TYPE_CHECKING:
    import pyarrow as pa

_SILENT_S = 1.0
_EVERY_S = 0.2
_BAR = 24
_CLEAR = "\r\x1b[K"

StartSteps = Callable[[int], Callable[[], None]]
"""Takes the number of steps of some work, and returns the function to call after each."""


def counted(batches: "Iterable[pa.RecordBatch]", output: Output) -> "Iterator[pa.RecordBatch]":
    """Pass batches on; after a second, show the number of their rows."""
    visible = sys.stderr.isatty() and not output.on_terminal
    rows, next_s, shown = 0, time.monotonic() + _SILENT_S, False
    for batch in batches:
        yield batch
        rows += batch.num_rows
        if visible and time.monotonic() > next_s:
            next_s, shown = time.monotonic() + _EVERY_S, True
            click.echo(f"\r{rows:,} rows", nl=False, err=True)
    if shown:
        click.echo(f"\r{rows:,} rows", err=True)


class ProgressBar:
    """A bar for long work. Use it in a `with` block.

    `total` is None where it is not known beforehand; `unit` names what is counted, in the plural; `visible` is False if
    something else is written to the same terminal.
    """

    def __init__(self, total: int | None, unit: str, *, visible: bool = True) -> None:
        self._total, self._unit = total, unit
        self._visible = visible and sys.stderr.isatty()
        self._done = 0
        self._shown = False
        self._began_s = time.monotonic()
        self._next_s = self._began_s + _SILENT_S

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove the bar until the next update."""
        if self._shown:
            click.echo(_CLEAR, nl=False, err=True)
            self._shown = False

    def advance(self, count: int, note: str = "", left_s: float | None = None) -> None:
        """Count progress; `note` is the present position, `left_s` a better estimate of the remaining time, if there is one."""
        self._done += count
        now_s = time.monotonic()
        if not self._visible or now_s < self._next_s:
            return
        self._next_s, self._shown = now_s + _EVERY_S, True
        line = self._line(now_s, note, left_s)
        click.echo(_CLEAR + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)

    def _line(self, now_s: float, note: str, left_s: float | None) -> str:
        if self._total is None:
            return f"{self._done:,} {self._unit}"
        if left_s is None:
            left_s = (now_s - self._began_s) / max(self._done, 1) * (self._total - self._done)
        return bar_line(self._done, self._total, self._unit, left_s, note)


def bar_line(done: int, total: int, unit: str, left_s: float, note: str = "") -> str:
    """Return one line: share, bar, count, remaining time, and a note."""
    share = min(done / total, 1.0) if total else 1.0
    full = int(share * _BAR)
    bar = "█" * full + "░" * (_BAR - full)
    parts = [f"{share:4.0%} {bar} {done:,} of {total:,} {unit}", f"{duration(left_s)} left", note]
    return ", ".join(each for each in parts if each)


def duration(seconds: float) -> str:
    """Write a duration for people: `0:07`, `12:30`, `3:05:00`, `2 d 3:05:00`."""
    days, rest = divmod(max(0, round(seconds)), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, whole = divmod(rest, 60)
    clock = f"{hours}:{minutes:02}:{whole:02}" if hours or days else f"{minutes}:{whole:02}"
    return f"{days} d {clock}" if days else clock


class Steps:
    """One line for work that another component does step by step. Use it in a `with` block."""

    def __init__(self) -> None:
        self._visible = sys.stderr.isatty()

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._visible:
            click.echo(_CLEAR, nl=False, err=True)

    def show(self, doing: str, done: int, total: int) -> None:
        """Show the present work, and how many of its steps are done."""
        if self._visible:
            line = f"{doing}: {done:,} of {total:,}"
            click.echo(_CLEAR + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)


@contextmanager
def step_bar(label: str) -> Iterator[StartSteps]:
    """Yield the function that starts a bar for a number of steps; it may be called again, for a new bar."""
    with ExitStack() as stack:

        def start(steps: int) -> Callable[[], None]:
            if not sys.stderr.isatty():
                return lambda: None
            bar = stack.enter_context(click.progressbar(length=max(steps, 1), label=label, file=sys.stderr))
            return lambda: bar.update(1)

        yield start
