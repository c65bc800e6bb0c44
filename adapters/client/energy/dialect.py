"""The dialect of a CSV file: its separator and header, and how it writes numbers and times. Pure.

Meters and utilities write CSV in many ways. A dialect is inferred only where the file leaves one reading; otherwise the error
names the option that decides.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.client.errors import Failed

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
COMMA, POINT = "comma", "point"
DAY_FIRST, MONTH_FIRST = "day-first", "month-first"

Record = tuple[int, list[str]]
"""The line on which a record ends, and its fields."""

_HEADER_WITHIN = 30
"""Records from the top in which the header must be."""
_MOST_FOOTER = 10
"""Records; more without a time are no footer, but readings that cannot be used."""
# fmt: off
_TIMES = frozenset((
    "datetime", "date time", "date/time", "datetime utc", "timestamp", "timestamp utc", "time stamp", "interval start",
    "period start", "start", "start at", "start time", "starttime", "startzeit", "from", "von", "beginn", "datum/zeit",
    "datum/uhrzeit", "datum und uhrzeit", "zeitstempel", "zeitpunkt",
))
_DATES = frozenset((
    "date", "datum", "day", "tag", "datum von", "start date", "startdatum",
))
_CLOCKS = frozenset((
    "time", "zeit", "uhrzeit", "start time", "starttime", "startzeit", "start", "from", "von", "zeit von", "uhrzeit von",
))
_VALUES = frozenset((
    "value", "values", "energy", "power", "consumption", "usage", "active energy", "active power", "load", "wert", "werte",
    "messwert", "energie", "leistung", "verbrauch", "stromverbrauch", "energieverbrauch", "wirkleistung", "wirkarbeit",
))
# fmt: on
_UNITS = {"kw": "kW", "kwh": "kWh"}
_NAMED_UNIT = re.compile(r"(.*?)\s*(?:in )?[(\[]?\s*\b([kmg]?wh?|[kmg]?va(?:rh?|h)?|m3|m³)\s*[)\]]?")
_TIME = re.compile(
    r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})"
    r"(?:(?:T|,? +)(\d{1,2}):(\d\d)(:\d\d(?:\.\d+)?)?(?: *([AaPp])\.?[Mm]\.?)?\s*(Z|[+-]\d\d:?\d\d)?)?"
)
_BEGINS_AS_TIME = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d")
_CLOCK = re.compile(r"\d{1,2}:\d\d")
_TOTALS = re.compile(r"(?i)(grand |sub)?(total|sum|summe|gesamt|average|mean|mittelwert|minimum|maximum|min|max|end|ende)\b")
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")
_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+|[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
_GROUPS_AND_DECIMAL = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+\.|(?:\.\d{3})+,)\d+")


@dataclass(frozen=True, slots=True)
class Header:
    """The line with the names of the columns, and the columns that count."""

    line: int
    names: list[str]
    at: int
    clock: int | None
    """The column with the time of day, where the other one has only the date."""
    value: int
    units: str | None
    """`kW` or `kWh`, where the name of the column contains it."""

    @property
    def times(self) -> str:
        """The names of the columns with the time, for people."""
        return self.names[self.at] if self.clock is None else f"{self.names[self.at]} and {self.names[self.clock]}"


@dataclass(frozen=True, slots=True)
class Forms:
    """How numbers and dates are written, where the user decides it; None: inferred from the file."""

    separator: str | None = None
    decimal: str | None = None
    dates: str | None = None


def split(name: str, text: str, separator: str | None) -> tuple[str, Header, Iterator[Record]]:
    """Find separator and header, and return them with the records below it.

    Raises:
        Failed: there is no header with a column of times and one of values, or there are several of a kind.
    """
    first, _, rest = text.partition("\n")
    if marked := re.fullmatch(r"sep=([,;\t])\s*", first):  # Excel's mark
        text, separator = f"\n{rest}", separator or next(key for key, mark in SEPARATORS.items() if mark == marked[1])
    wanted = [SEPARATORS[separator]] if separator else [*SEPARATORS.values()]
    found = [(mark, header) for mark in wanted if (header := _header(name, text, mark))]
    if not found:
        line = next((n for n, each in enumerate(text.splitlines(), 1) if each.strip()), 1)
        shown = text.splitlines()[line - 1][:100] if text.strip() else ""
        raise Failed(
            f"{name}, line {line}: there is no header with a column of times and one of values"
            + (f", but {shown!r}" if shown else ": the file is empty"),
            "name the columns datetime and value in its first line, or give --separator",
        )
    if len(found) > 1:
        raise Failed(f"{name}: its separator is not clear", "give --separator comma, semicolon or tab")
    mark, header = found[0]
    return mark, header, _below(name, text, mark, header)


def columns(name: str, names: list[str]) -> Header:
    """Find the columns that count in a file that has no lines.

    Raises:
        Failed: there is no column of times or none of values, or there are several of a kind.
    """
    header = _columns(name, 1, names)
    if header is None or header.clock is not None:
        raise Failed(f"{name}: there is no column of times, or none of values", "name the columns datetime and value")
    return header


def _header(name: str, text: str, mark: str) -> Header | None:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        for record, _ in zip(lines, range(_HEADER_WITHIN), strict=False):
            if header := _columns(name, lines.line_num, [each.strip() for each in record]):
                return header
    except csv.Error:
        return None
    return None


def _columns(file: str, line: int, names: list[str]) -> Header | None:
    """Return the header if a record is one."""
    plain = [" ".join(each.casefold().replace("_", " ").split()) for each in names]
    values = _named(plain, "value", _is_value)
    dates, clocks = [[n for n, each in enumerate(plain) if each in known] for known in (_DATES, _CLOCKS)]
    times = _named(plain, "datetime", lambda each: each in _TIMES)
    if len(dates) == len(clocks) == 1 and set(times) <= set(clocks):
        times = dates
    else:
        clocks, times = [], times or dates or clocks
    if not times or not values:
        return None
    for several in (times, values):
        if len(several) > 1:
            listed = " and ".join(names[n] for n in several)
            word = "times" if several is times else "values"
            raise Failed(f"{file}, line {line}: the columns {listed} may both be the {word}", "name one datetime or value")
    return Header(line, names, times[0], clocks[0] if clocks else None, values[0], _unit(file, line, names[values[0]]))


def _named(plain: Sequence[str], exact: str, accepts: Any) -> list[int]:
    found = [n for n, each in enumerate(plain) if each == exact]
    return found or [n for n, each in enumerate(plain) if accepts(each)]


def _is_value(plain: str) -> bool:
    unit = _NAMED_UNIT.fullmatch(plain)
    return plain in _VALUES or (unit is not None and (unit[1] in _VALUES or (not unit[1] and unit[2] in _UNITS)))


def _unit(file: str, line: int, name: str) -> str | None:
    found = _NAMED_UNIT.fullmatch(" ".join(name.casefold().replace("_", " ").split()))
    if found is None:
        return None
    if found[2] not in _UNITS:
        raise Failed(f"{file}, line {line}: the column {name!r} is in neither kW nor kWh", "convert its values, and rename it")
    return _UNITS[found[2]]


def _below(name: str, text: str, mark: str, header: Header) -> Iterator[Record]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        for record in lines:
            if lines.line_num > header.line:
                yield lines.line_num, [each.strip() for each in record]
    except csv.Error as error:
        raise Failed(f"{name}, line {lines.line_num}: {error}", "correct the line") from error


def rows_and_footer(name: str, header: Header, records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Separate the rows from a footer, without blank lines.

    Raises:
        Failed: a row has another number of columns than the header.
    """
    rows = [(line, fields) for line, fields in records if any(fields)]
    end = len(rows)
    while end > 1 and _is_footer(header, rows[end - 1][1]):
        end -= 1
    if len(rows) - end > _MOST_FOOTER:
        end = len(rows)
    for line, fields in rows[:end]:
        if len(fields) < len(header.names) or any(fields[len(header.names) :]):
            text = f"{name}, line {line}: has {len(fields)} columns, the header has {len(header.names)}"
            raise Failed(text, "correct the line; a number with a decimal comma needs quotes where commas separate")
    return rows[:end], rows[end:]


def _is_footer(header: Header, fields: list[str]) -> bool:
    """Return whether a record is no reading. A reading whose time cannot be read is not left out but refused."""
    at = fields[header.at] if header.at < len(fields) else ""
    if _BEGINS_AS_TIME.match(at) or _BEGINS_AS_TIME.match(fields[0]):
        return False
    return len(fields) != len(header.names) or sum(map(bool, fields)) == 1 or not at or _TOTALS.match(at) is not None


def decimal_mark(name: str, cells: Sequence[tuple[int, str]], mark: str, wanted: str | None) -> str:
    """Return the decimal mark of the values: `comma` or `point`.

    Raises:
        Failed: both occur, or all values have three digits behind the mark, so that it may separate thousands.
    """
    if wanted is not None:
        return wanted
    certain: dict[str, tuple[int, str]] = {}
    doubtful: dict[str, tuple[int, str]] = {}
    for line, text in cells:
        if _GROUPS_AND_DECIMAL.fullmatch(text):
            certain.setdefault(COMMA if text.rfind(",") > text.rfind(".") else POINT, (line, text))
        elif _GROUPS.fullmatch(text):
            doubtful.setdefault(COMMA if "," in text else POINT, (line, text))
        elif _DECIMAL.fullmatch(text):
            certain.setdefault(COMMA if "," in text else POINT, (line, text))
    if len(certain) > 1:
        (one, text), (other, second) = certain.values()
        raise Failed(f"{name}: line {one} has {text}, line {other} {second}: two decimal marks", _GIVE_DECIMAL)
    if certain:
        return next(iter(certain))
    unclear = doubtful.get(COMMA) or (doubtful.get(POINT) if mark == ";" else None)
    if unclear is not None:
        raise Failed(f"{name}, line {unclear[0]}: {unclear[1]} may have a decimal mark or one of thousands", _GIVE_DECIMAL)
    return POINT


_GIVE_DECIMAL = "give --decimal comma or --decimal point"


def number(text: str, decimal: str) -> str:
    """Return a number as Python reads it; any other text is returned unchanged."""
    grouping, mark = (".", ",") if decimal == COMMA else (",", ".")
    grouped = _GROUPS_AND_DECIMAL.fullmatch(text) and text.rfind(mark) > text.rfind(grouping)
    if grouped or (_GROUPS.fullmatch(text) and grouping in text):
        text = text.replace(grouping, "")
    elif grouping in text:
        return text
    return text.replace(",", ".") if decimal == COMMA and _DECIMAL.fullmatch(text) else text


def date_order(name: str, cells: Sequence[tuple[int, str]], wanted: str | None) -> str | None:
    """Return whether dates such as 24/08/2018 begin with the day or the month; None where there is none.

    Raises:
        Failed: the dates do not show it.
    """
    numbers = [(line, int(found[1]), int(found[3])) for line, text in cells if (found := _slashed(text))]
    if wanted is not None or not numbers:
        return wanted
    day_first = any(first > 12 for _, first, _ in numbers)
    month_first = any(second > 12 for _, _, second in numbers)
    if day_first == month_first:
        why = "dates begin with the day and with the month" if day_first else "a date may begin with the day or the month"
        raise Failed(f"{name}, line {numbers[0][0]}: {why}", "give --dates day-first or --dates month-first")
    return DAY_FIRST if day_first else MONTH_FIRST


def _slashed(text: str) -> re.Match[str] | None:
    found = _TIME.fullmatch(text)
    return found if found and found[2] != "." and len(found[1]) <= 2 and len(found[4]) == 4 else None


def joined(date: str, clock: str) -> str:
    """Return date and time of day as one text."""
    return f"{date} {clock}" if _CLOCK.match(clock) else clock if _BEGINS_AS_TIME.match(clock) else date


def iso(text: str, order: str | None) -> str:
    """Return a time as ISO 8601, a date as midnight UTC; what is no time is returned unchanged: the normalizer reports it."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    if len(found[1]) == 4 and len(found[4]) <= 2:
        year, month, day = found[1], found[3], found[4]
    elif len(found[1]) <= 2 and len(found[4]) == 4:
        year, month, day = found[4], found[3], found[1]
        if found[2] != "." and order == MONTH_FIRST:
            month, day = day, month
    else:
        return text
    clock, zone = "00:00:00", found[9] or "Z"
    if found[5] is not None:
        hour = int(found[5]) if found[8] is None else int(found[5]) % 12 + 12 * (found[8] in "pP")
        clock = f"{hour:02}:{found[6]}{found[7] or ':00'}"
    return f"{year}-{int(month):02}-{int(day):02}T{clock}{zone}"
