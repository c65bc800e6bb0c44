"""Tables for people: with rich on a terminal, and in Markdown."""

import io
import os
import shutil
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.cli.output.values import as_cell, is_number
from adapters.client.rows import Row

_GAP = 2
_NARROWEST_CUT = 10
"""A column is never cut below this width; if the table is still too wide, each row is shown as a block of lines."""
_WIDEST_CELL = 2_000
_MOST_STYLED = 500
"""Rows of a table with colours at most: rich takes milliseconds for each row."""
_STYLES = {"online": "green", "ok": "green", "offline": "red", "failed": "bold red", "warning": "yellow", "unknown": "yellow"}

Lines = Sequence[Sequence[str]]


def text_table(columns: Sequence[str], rows: Sequence[Row], on_terminal: bool) -> str:
    """Return a table with one line per row.

    On a terminal it may have colours and fits the width: long cells end in …, and if there are too many columns for that, each
    row becomes a block with one line per column.
    """
    cells = [[_shortened(as_cell(value)) for value in row] for row in rows]
    natural = [max(map(cell_len, column)) for column in zip(map(as_cell, columns), *cells, strict=True)]
    width = shutil.get_terminal_size().columns if on_terminal else sum(natural) + _GAP * len(natural)
    widths = fitted(natural, width)
    if widths is not None and len(cells) > _MOST_STYLED:
        return _plain(columns, cells, _right_aligned(len(columns), rows), widths)
    printed = _blocks(columns, cells) if widths is None else _table(columns, cells, _right_aligned(len(columns), rows), widths)
    written = io.StringIO()
    slack = 0 if widths is None else _GAP  # rich counts a gap after the last column too
    colours = on_terminal and os.environ.get("TERM") not in ("dumb", "unknown")  # with these, rich ignores the width
    console = Console(file=written, width=max(width, 1) + slack, force_terminal=colours, highlight=False)
    console.print(printed, crop=False, no_wrap=True, overflow="ellipsis" if on_terminal else "ignore")
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


def fitted(natural: Sequence[int], width: int) -> list[int] | None:
    """Return the widths of columns that need `natural`: the widest are cut until all fit; None if that is impossible."""
    spare = width - _GAP * (len(natural) - 1)
    if sum(min(each, _NARROWEST_CUT) for each in natural) > spare:
        return None
    limit = max(natural, default=0)
    while sum(min(each, limit) for each in natural) > spare:
        limit -= 1
    return [min(each, limit) for each in natural]


def markdown_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a table in GitHub's Markdown."""
    ruler = ("---:" if right else "---" for right in _right_aligned(len(columns), rows))
    lines = [map(as_cell, columns), ruler, *(map(as_cell, row) for row in rows)]
    return "".join(f"| {' | '.join(_escaped(cell) for cell in line)} |\n" for line in lines)


def _table(columns: Sequence[str], cells: Lines, right: Sequence[bool], widths: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name, is_right, width in zip(columns, right, widths, strict=True):
        justify = "right" if is_right else "left"
        table.add_column(Text(as_cell(name)), justify=justify, width=width, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for line in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    return table


def _plain(columns: Sequence[str], cells: Lines, right: Sequence[bool], widths: Sequence[int]) -> str:
    """Return the same lines as `_table`, without colours."""
    lines = [[as_cell(name) for name in columns], *cells]
    shown = [
        (" " * _GAP).join(_fitted_cell(*each) for each in zip(line, widths, right, strict=True)).rstrip() for line in lines
    ]
    ruler = "─" * (sum(widths) + _GAP * (len(widths) - 1))
    return "".join(f"{line}\n" for line in (shown[0], ruler, *shown[1:]))


def _fitted_cell(cell: str, width: int, right: bool) -> str:
    missing = width - cell_len(cell)
    if missing < 0:
        return f"{set_cell_size(cell, width - 1)}…"
    return " " * missing + cell if right else cell + " " * missing


def _blocks(columns: Sequence[str], cells: Lines) -> Text:
    label = max(map(cell_len, columns))
    text = Text(no_wrap=True)
    for number, line in enumerate(cells):
        text.append("\n" if number else "")
        for name, cell in zip(columns, line, strict=True):
            text.append(f"{as_cell(name):>{label}}  ", style="bold")
            text.append(f"{cell}\n", style=_STYLES.get(cell, ""))
    text.rstrip()
    return text


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _WIDEST_CELL else cell[:_WIDEST_CELL] + "…"


def _right_aligned(columns: int, rows: Sequence[Row]) -> list[bool]:
    values = ([row[index] for row in rows if row[index] is not None] for index in range(columns))
    return [bool(column) and all(is_number(value) for value in column) for column in values]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")
