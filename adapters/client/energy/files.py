"""Consumption data in JSON, CSV and Parquet files, as posts. Invalid values are posted too: the normalizer reports them."""

import codecs
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from adapters.client.energy import dialect
from adapters.client.errors import Failed, WrongUsage
from broker.contract.identifiers import parse_identifier

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

MOST_VALUES = 50_000
"""In one post."""
MOST_YEARS = 4
"""Calendar years in one post at most: the normalizer takes five years at a time."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """The options for data that does not contain its ship, units or interval."""

    ship: str | None = None
    units: str | None = None
    interval_minutes: float | None = None
    forms: dialect.Forms = field(default_factory=dialect.Forms)


@dataclass(frozen=True, slots=True)
class FilePost:
    """One post of a file. `place` names it in a file with several (`post 2, `); `first_row` is the row of `data[0]`."""

    path: Path
    ship: Any
    units: Any
    data: list[Any]
    interval_minutes: Any = None
    place: str = ""
    first_row: int = 0
    rows: str = "row"
    """The word for a row in this file: `row`, counted from 0 as in `data`, or `line`."""
    lines: Sequence[int] = ()
    """The line of each row of the file, if it has lines."""
    notes: tuple[str, ...] = ()
    """How the file was read, for people."""

    def where(self, index: int) -> str:
        """Return the place of a value for people: `file.csv, line 7`."""
        return f"{self.path.name}, {self.place}{self.rows} {self.number(index)}"

    def number(self, index: int) -> int:
        """Return the number of the row in the file, or of its line."""
        row = self.first_row + index
        return self.lines[row] if self.lines else row

    def pieces(self) -> "Iterator[FilePost]":
        """Split it into posts that the normalizer takes, in order; an empty post stays one post."""
        for start, stop in _cuts(self.data):
            yield replace(self, data=self.data[start:stop], first_row=self.first_row + start)

    def payload(self) -> bytes:
        """Return the payload for the topic."""
        post = {"spaceship_id": self.ship, "units": self.units, "data": self.data}
        if self.interval_minutes is not None:
            post["interval_minutes"] = self.interval_minutes
        try:
            return orjson.dumps(post)
        except TypeError:  # numbers beyond 64 bits, lone surrogates, deep nesting: the normalizer reports the error
            try:
                return json.dumps(post).encode()
            except RecursionError:
                raise Failed(f"{self.path.name}: is nested too deeply", "post values, not objects") from None


def _cuts(data: list[Any]) -> Iterator[tuple[int, int]]:
    """Return where pieces begin and end: none has more than `MOST_VALUES` rows or touches more than `MOST_YEARS` years."""
    start, years = 0, set[int]()
    for index, row in enumerate(data):
        year = _year(row)
        if index - start >= MOST_VALUES or (year and years and max(*years, year) - min(*years, year) >= MOST_YEARS):
            yield start, index
            start, years = index, set()
        if year:
            years.add(year)
    yield start, len(data)


def _year(row: Any) -> int:
    """Return the year of a row, 0 where it cannot be read: the normalizer reports the error."""
    text = row.get("datetime") if isinstance(row, dict) else None
    digits = text[:4] if isinstance(text, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def read(path: Path, defaults: Defaults) -> list[FilePost]:
    """Read a file: `.json`, `.csv`, `.tsv` or `.parquet`.

    Raises:
        Failed: it cannot be read; the text names the file, and the row where one is wrong.
        WrongUsage: its name has another ending, or its ship or units are missing.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WrongUsage(f"{path.name}: does not end in any of {', '.join(_READERS)}", "name the file after its content")
    try:
        return reader(path, defaults)
    except OSError as error:
        raise Failed(f"{path.name}: {error.strerror or error}", "name a readable file") from error
    except UnicodeDecodeError as error:
        raise Failed(
            f"{path.name}: is not UTF-8: {error}", f"type: iconv -f WINDOWS-1252 -t UTF-8 {path} > NEW-FILE"
        ) from error


def _json(path: Path, defaults: Defaults) -> list[FilePost]:
    document = _document(path)
    posts = document if isinstance(document, list) else [document]
    several = isinstance(document, list)
    return [_json_post(path, each, f"post {number}, " if several else "", defaults) for number, each in enumerate(posts)]


def _document(path: Path) -> Any:
    content = _text(path)
    try:
        document = orjson.loads(content)
        posts = document if isinstance(document, list) else [document]
        if any(isinstance(each, dict) and isinstance(each.get("spaceship_id"), float) for each in posts):
            return _finite(json.loads(content))  # a number beyond 64 bits was rounded
        return document
    except ValueError as error:
        try:
            return _finite(json.loads(content, parse_constant=str))
        except (ValueError, RecursionError):
            raise Failed(f"{path.name}: not JSON: {error}", "see scaup energy import --help for the form") from error


def _finite(value: Any) -> Any:
    """Replace numbers that are too large, such as 1e999, by text: JSON has no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return {key: _finite(each) for key, each in value.items()} if isinstance(value, dict) else value


def _json_post(path: Path, post: Any, place: str, defaults: Defaults) -> FilePost:
    where = f"{path.name}: {place}"
    if not isinstance(post, dict) or not isinstance(post.get("data"), list):
        raise Failed(f'{where}must be an object with "spaceship_id", "units" and a list "data"', "see --help for the form")
    ship, units = post.get("spaceship_id", defaults.ship), post.get("units", defaults.units)
    if ship is None:
        raise Failed(f'{where}"spaceship_id" is missing or null', "give --ship")
    if isinstance(ship, bool) or not isinstance(ship, (int, str)):
        raise Failed(
            f'{where}"spaceship_id" must be a whole number or a text', "a longer number can be a text: give it in quotes"
        )
    interval = post.get("interval_minutes", defaults.interval_minutes)
    return FilePost(path, parse_identifier(ship), units, [_dated(each) for each in post["data"]], interval, place)


def _dated(row: Any) -> Any:
    """Return a row with a date as its midnight, UTC; every other row is returned unchanged."""
    at = row.get("datetime") if isinstance(row, dict) else None
    return {**row, "datetime": f"{at}T00:00:00Z"} if isinstance(at, str) and _DATE.fullmatch(at) else row


def _csv(path: Path, defaults: Defaults) -> list[FilePost]:
    _require_ship(path, defaults)
    mark, header, records = dialect.split(path.name, _text(path), defaults.forms.separator)
    units = _units(path, defaults, header)
    rows, footer = dialect.rows_and_footer(path.name, header, records)
    if not rows:
        raise Failed(f"{path.name}, line {header.line}: there is no value below the header", "export the data again")
    values = [(line, fields[header.value]) for line, fields in rows]
    times = [(line, _time_of(header, fields)) for line, fields in rows]
    decimal = dialect.decimal_mark(path.name, values, mark, defaults.forms.decimal)
    order = dialect.date_order(path.name, times, defaults.forms.dates)
    data = [
        {"datetime": dialect.iso(at, order), "value": _number(dialect.number(value, decimal))}
        for (_, at), (_, value) in zip(times, values, strict=True)
    ]
    post = _table_post(path, replace(defaults, units=units), data, first_row=0, rows="line")
    notes = _understood(path, mark, header, units, decimal, order, footer)
    return [replace(post, lines=[line for line, _ in rows], notes=notes)]


def _time_of(header: dialect.Header, fields: list[str]) -> str:
    return fields[header.at] if header.clock is None else dialect.joined(fields[header.at], fields[header.clock])


def _units(path: Path, defaults: Defaults, header: dialect.Header) -> str:
    units, column = defaults.units or header.units, header.names[header.value]
    if units is None:
        raise WrongUsage(f"{path.name}: the units are missing", "give --units kW or kWh")
    if header.units not in (None, units):
        text = f"{path.name}, line {header.line}: the column {column!r} is in {header.units}, not {units}"
        raise Failed(text, f"give --units {header.units}, or rename the column")
    return units


def _understood(
    path: Path, mark: str, header: dialect.Header, units: str, decimal: str, order: str | None, footer: list[dialect.Record]
) -> tuple[str, ...]:
    """Return sentences about how a file was read."""
    separator = next(name for name, each in dialect.SEPARATORS.items() if each == mark)
    dates = f" ({order.replace('-', ' ')})" if order else ""
    text = (
        f"{path.name}: read times from {header.times}{dates}, in UTC unless they name a zone, "
        f"and {units} from {header.names[header.value]}; separator {separator}, decimal {decimal}"
        + (f", header in line {header.line}" if header.line > 1 else "")
    )
    return text, *(
        f"{path.name}, line {line}: left out as a footer: {' '.join(filter(None, each))[:80]}" for line, each in footer
    )


def _text(path: Path) -> str:
    """Return the text of a file: UTF-8, or UTF-16 where it begins with the byte order mark that Excel writes."""
    content = path.read_bytes()
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16")
    if b"\0" in content[:4]:
        raise Failed(f"{path.name}: is UTF-16 without a byte order mark", f"type: iconv -f UTF-16LE -t UTF-8 {path} > NEW-FILE")
    return content.decode("utf-8-sig")


def _number(text: str) -> Any:
    """Return the number that a text contains; else the text itself, so that the normalizer can report it."""
    stripped = text.strip()
    if "_" in stripped or not stripped.isascii():  # `float` would accept 1_000, and digits of any script
        return stripped
    try:
        value = float(stripped)
    except ValueError:
        return stripped
    return value if math.isfinite(value) else stripped


def _parquet(path: Path, defaults: Defaults) -> list[FilePost]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_ship(path, defaults)
    try:
        header = dialect.columns(path.name, pq.read_schema(path).names)
        units = _units(path, defaults, header)
        chosen = [header.names[header.at], header.names[header.value]]
        table = pq.read_table(path, columns=chosen)
    except pa.ArrowInvalid as error:
        raise Failed(f"{path.name}: {error}", "it must be Parquet with columns datetime and value") from error
    times, values = _times(path, table[chosen[0]]), table[chosen[1]].to_pylist()
    data = [{"datetime": at, "value": _plain(value)} for at, value in zip(times, values, strict=True)]
    return [_table_post(path, replace(defaults, units=units), data, first_row=0, rows="row")]


def _times(path: Path, column: Any) -> list[str | None]:
    """Return times as text; those without a zone are UTC, and dates their midnight."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [each and dialect.iso(each, None) for each in column.to_pylist()]
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(column.type) else "ms"))
    if not pa.types.is_timestamp(column.type):
        raise Failed(f"{path.name}: {column.type} is no type of times", "store timestamps, dates or ISO 8601 text")
    instants = column.cast(pa.timestamp(column.type.unit))
    whole = pc.all(pc.equal(instants, pc.floor_temporal(instants, unit="second"))).as_py() is not False
    unit = "s" if whole else "us"
    return [None if each is None else f"{each}Z" for each in _iso(instants.cast(pa.timestamp(unit), safe=False))]


def _iso(instants: Any) -> list[str | None]:
    import numpy as np

    found = np.datetime_as_string(instants.to_numpy()).tolist()
    return [None if each == "NaT" else each for each in found]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _require_ship(path: Path, defaults: Defaults) -> None:
    if defaults.ship is None:
        raise WrongUsage(f"{path.name}: does not name its ship", "give --ship ID")


def _table_post(path: Path, defaults: Defaults, data: list[Any], first_row: int, rows: str) -> FilePost:
    assert defaults.ship is not None
    ship = parse_identifier(defaults.ship)
    return FilePost(path, ship, defaults.units, data, defaults.interval_minutes, "", first_row, rows)


_READERS = {".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
