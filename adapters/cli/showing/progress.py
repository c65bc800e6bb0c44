"""Progress on standard error while many rows are written somewhere else than to the terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from adapters.cli.showing.output import Output

if TYPE_CHECKING:
    import pyarrow as pa

_SILENT_S = 1.0
_EVERY_S = 0.2


def counted(batches: "Iterable[pa.RecordBatch]", output: Output) -> "Iterator[pa.RecordBatch]":
    """Hand batches through; after a second, count their rows on standard error where that is a terminal."""
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
