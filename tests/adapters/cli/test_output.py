"""Formats: values, tables, files, terminals."""

import csv
import io
import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format, json_line
from adapters.cli.output.table import fitted, markdown_table, text_table
from adapters.cli.output.values import as_cell
from adapters.client.errors import Failed, WrongUsage
from adapters.client.rows import ArrowRows, Rows
from adapters.client.texts import as_csv, csv_line

AT = datetime(2026, 1, 31, 8, 0, 0, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "cell", "in_csv", "in_json"),
    [
        (None, "", None, "null"),
        (True, "yes", "true", "true"),
        (3, "3", 3, "3"),
        (2**70, str(2**70), 2**70, str(2**70)),
        (21.7, "21.7", 21.7, "21.7"),
        (float("nan"), "nan", None, "null"),
        ("text", "text", "text", '"text"'),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m", "a\nb\x1b[31m", '"a\\nb\\u001b[31m"'),
        (AT, "2026-01-31 08:00:00.123Z", "2026-01-31T08:00:00.123456Z", '"2026-01-31T08:00:00.123456Z"'),
        (date(2026, 1, 31), "2026-01-31", "2026-01-31", '"2026-01-31"'),
        (b"\xff\x00", "ff 00", "/wA=", '"/wA="'),
        (Decimal("1.50"), "1.50", "1.50", "1.50"),
        ([1, "a"], '[1,"a"]', '[1,"a"]', '[1,"a"]'),
        ({"a": None}, '{"a":null}', '{"a":null}', '{"a":null}'),
        (timedelta(seconds=90), '"PT90S"', "PT90S", '"PT90S"'),
    ],
)
def test_values(value: Any, cell: str, in_csv: Any, in_json: str) -> None:
    assert as_cell(value) == cell
    assert json_line(["v"], [value]).decode() == f'{{"v":{in_json}}}\n'
    if in_csv is not None:
        assert as_csv(value) == in_csv


def test_csv_can_be_read_back() -> None:
    rows = [["a,b", 'say "x"'], ["line\nend", ""]]
    text = b"".join(csv_line(row) for row in rows).decode()
    assert list(csv.reader(io.StringIO(text))) == rows


def test_every_type_of_duckdb_becomes_json() -> None:
    relation = duckdb.connect().sql(
        "SELECT 1::HUGEINT AS h, 1.5::DECIMAL(5,2) AS d, TIMESTAMP_NS '2026-01-01 00:00:00.123456789' AS ns, "
        "INTERVAL '1 month 2 days 3 seconds' AS i, TIME '10:00' AS t, {'a': [1, NULL]} AS s, MAP {'k': 1} AS m, "
        "'x'::BLOB AS b, uuid() AS u, 'a'::ENUM('a') AS e, NULL AS n, INTERVAL 0 DAY AS z"
    )
    table = relation.to_arrow_table()
    result = ArrowRows(table.schema, table.to_batches())
    row = json.loads(json_line(result.columns, next(result.rows())))
    assert row["i"] == "1 months 2 days 3 seconds"
    assert row["z"] == "0 seconds"
    assert (row["h"], row["d"], row["ns"], row["e"], row["n"]) == (1, 1.5, "2026-01-01T00:00:00.123456", "a", None)


def test_instants_are_shown_in_utc_whatever_their_zone() -> None:
    column = pa.array([AT], pa.timestamp("us", "Europe/Berlin"))
    result = ArrowRows(pa.schema([("t", column.type)]), [pa.record_batch([column], ["t"])])
    assert as_cell(next(result.rows())[0]) == "2026-01-31 08:00:00.123Z"


def test_dates_without_a_python_type_are_shown_as_text() -> None:
    table = (
        duckdb.connect()
        .sql("SELECT 'infinity'::DATE AS a, TIMESTAMP '290000-01-01' AS b, [DATE '-infinity'] AS c")
        .to_arrow_table()
    )
    assert list(ArrowRows(table.schema, table.to_batches()).rows()) == [("infinity", "290000-01-01 00:00:00", ["-infinity"])]


def test_columns_of_the_same_name_stay_apart() -> None:
    batch = pa.record_batch([pa.array([1]), pa.array([2]), pa.array([3])], ["a", "a", "a_1"])
    result = ArrowRows(batch.schema, [batch])
    assert list(result.columns) == ["a", "a_1", "a_1_1"]
    schema, batches = result.batches()
    assert schema.names == next(batches).schema.names == ["a", "a_1", "a_1_1"]


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("csv", Format.CSV), ("parquet", Format.PARQUET), ("md", Format.MARKDOWN), ("json", Format.JSON), ("x", Format.JSONL)],
)
def test_the_file_name_chooses_the_format(tmp_path: Path, suffix: str, expected: Format) -> None:
    assert Output.of(None, tmp_path / f"out.{suffix}").format is expected
    assert Output.of("csv", tmp_path / f"out.{suffix}").format is Format.CSV


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_on_a_terminal_and_json_lines_in_a_pipe(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert Output.of(None, None).format is (Format.TABLE if terminal else Format.JSONL)


def test_parquet_never_goes_to_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(WrongUsage, match="terminal"):
        Output.of("parquet", None)
    assert Output.of("parquet", tmp_path / "x").format is Format.PARQUET


@pytest.mark.parametrize("rows", [[], [("room-1", 21.5), ("room-2", None)]])
def test_parquet_files_can_be_read_back(tmp_path: Path, rows: list[tuple[str, float | None]]) -> None:
    path = tmp_path / "out.parquet"
    Output(Format.PARQUET, path).write(Rows(("room", "celsius"), rows))
    found = pq.read_table(path)
    assert found.column_names == ["room", "celsius"]
    assert [tuple(each.values()) for each in found.to_pylist()] == rows


@pytest.mark.parametrize(("count", "expected"), [(0, "[]\n"), (1, '[\n{"a":0}\n]\n'), (2, '[\n{"a":0},\n{"a":1}\n]\n')])
def test_a_json_array_is_whole(tmp_path: Path, count: int, expected: str) -> None:
    path = tmp_path / "out.json"
    Output(Format.JSON, path).write(Rows(("a",), [(number,) for number in range(count)]))
    assert path.read_text() == expected


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no-such-folder"):
        Output(Format.CSV, tmp_path / "no-such-folder" / "x.csv").write(Rows(("a",), []))


@pytest.mark.parametrize(
    ("natural", "width", "expected"),
    [
        ([5, 5], 12, [5, 5]),
        ([5, 50], 30, [5, 23]),
        ([50, 60, 3], 47, [20, 20, 3]),
        ([10] * 4, 46, [10] * 4),
        ([10] * 4, 45, None),
        ([100] * 10, 80, None),
        ([], 80, []),
    ],
)
def test_only_the_widest_columns_are_cut(natural: list[int], width: int, expected: list[int] | None) -> None:
    assert fitted(natural, width) == expected


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    text = text_table(("room", "payload", "more"), [("room-1", "x" * 300, "y" * 30), ("r", "é" * 300, None)], True)
    assert max(map(len, text.splitlines())) <= columns
    assert "room-1" in text


def test_too_many_columns_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    text = text_table([f"column_{n}" for n in range(9)], [list(range(9))], True)
    assert text.splitlines()[0] == "column_0  0"
    assert len(text.splitlines()) == 9


@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_long_table_is_laid_out_like_a_short_one(on_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")
    rows = [("c1", 1.5, None, "größe 日本語, a text that is cut" * 3, True), ("c2", 20.0, 3, "x\ny", False)]
    columns = ("charger", "soc %", "n", "text", "b")
    short = text_table(columns, rows, on_terminal)
    monkeypatch.setattr("adapters.cli.output.table._MOST_STYLED", 1)
    assert text_table(columns, rows, on_terminal) == short


def test_in_a_pipe_a_table_has_its_natural_width() -> None:
    text = text_table(("payload",), [("x" * 500,)], False)
    assert "x" * 500 in text
    assert "\x1b" not in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m" in text_table(("state",), [("online",)], True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in text_table(("state",), [("online",)], True)


def test_payloads_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in text_table(("payload",), [("\x1b]0;title\x07[bold]",)], False)
    assert "[bold]" in text_table(("payload",), [("[bold]",)], False)


def test_markdown() -> None:
    assert markdown_table(("a", "b|c"), [(1, "x|y"), (2, None)]) == ("| a | b\\|c |\n| ---: | --- |\n| 1 | x\\|y |\n| 2 |  |\n")
