"""Rows written one by one as they come: for `tail`."""

import shutil
from typing import IO

from adapters.cli.output.output import Format, csv_line, json_line
from adapters.cli.output.values import as_cell
from adapters.client.rows import Row

COLUMNS = ("received_at", "event_at", "topic", "payload", "payload_raw", "qos", "retain", "source", "boot", "seq")
"""The columns of `messages` that a live message has too."""

_WIDEST_LINE = 100_000


class LineWriter:
    """Writes messages (rows of `COLUMNS`) to a file; for people: time, topic and payload on one line."""

    def __init__(self, file: IO[bytes], output_format: Format, on_terminal: bool) -> None:
        self._file, self._format, self._on_terminal = file, output_format, on_terminal
        if output_format is Format.CSV:
            file.write(csv_line(COLUMNS))

    def write(self, row: Row) -> None:
        """Write one message."""
        self._file.write(self._line(row))

    def flush(self) -> None:
        """Let the reader see what has been written."""
        self._file.flush()

    def _line(self, row: Row) -> bytes:
        if self._format is Format.CSV:
            return csv_line(row)
        if self._format is Format.JSONL:
            return json_line(COLUMNS, row)
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
