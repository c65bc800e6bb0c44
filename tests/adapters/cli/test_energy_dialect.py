"""CSV and Parquet files as meters and utilities write them."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.client.energy import dialect, files
from adapters.client.errors import Failed, WrongUsage

DAY = "2018-08-24T00:00:00Z"


def rows(tmp_path: Path, content: str | bytes, units: str | None = "kWh", **forms: str) -> list[tuple[Any, Any]]:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (post,) = files.read(path, files.Defaults("2", units, None, dialect.Forms(**forms)))
    return [(each["datetime"], each["value"]) for each in post.data]


@pytest.mark.parametrize(
    "content",
    [
        "DateTime,VALUE\n2018-08-24T00:00:00Z,0.25\n",
        "datetime;value\n2018-08-24T00:00:00Z;0,25\n",
        "datetime\tvalue\n2018-08-24T00:00:00Z\t0,25\n",
        'datetime,value\n2018-08-24T00:00:00Z,"0,25"\n',
        "sep=;\r\nTimestamp;Energy [kWh]\r\n2018-08-24;0,25\r\n",
        "date_time,usage_kwh\n2018-08-24 0:00,.25\n",
        "Datum;Uhrzeit;Wert;Status\n24.08.2018;00:00;0,25;W\n",
        "Type,Date,Start Time,End Time,Usage (kWh),Cost\nEl,2018-08-24,00:00,00:59,0.25,$1\n",
        "start,end,kWh\n08/24/2018 12:00 AM,08/24/2018 01:00 AM,0.25\n",
        "time,value,\n2018-08-24T00:00:00Z,0.25,\n",
        "datetime,value\n2018-08-24T00:00:00Z,0.25,,\n",
        "Name,Anna\nMeter,77\n\ndatetime,value\n\n2018/08/24 00:00,0.25\n\n",
        "from;to;wert in kwh\n24/08/2018 00:00;24/08/2018 01:00;0,25\n",
    ],
)
def test_dialects_of_utilities_are_read(tmp_path: Path, content: str) -> None:
    ((at, value),) = rows(tmp_path, content)
    assert (at, value) == (DAY, 0.25)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_decides_encoding(tmp_path: Path, encoding: str) -> None:
    assert rows(tmp_path, "datetime\tvalue\n2018-08-24\t1\n".encode(encoding)) == [(DAY, 1.0)]


def test_dates_of_a_json_file_are_midnight(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"spaceship_id":1,"units":"kW","data":[{"datetime":"2018-08-24","value":1,"q":2},{"datetime":"soon"},5]}')
    (post,) = files.read(path, files.Defaults())
    assert post.data == [{"datetime": DAY, "value": 1, "q": 2}, {"datetime": "soon"}, 5]


def test_json_file_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"spaceship_id":1,"units":"kW","data":[]}', encoding="utf-8-sig")
    assert files.read(path, files.Defaults())[0].ship == 1


@pytest.mark.parametrize(
    ("content", "named", "forms"),
    [
        ("datetime;value\n2018-08-24;1,234\n", "--decimal", {"decimal": "comma"}),
        ("datetime;value\n2018-08-24;1.234\n", "--decimal", {"decimal": "point"}),
        ('datetime,value\n2018-08-24,0.5\n2018-08-25,"0,5"\n', "--decimal", {"decimal": "point"}),
        ("datetime,value\n03/04/2018,1\n", "--dates", {"dates": "day-first"}),
        ("datetime,value\n13/04/2018,1\n04/13/2018,1\n", "--dates", {"dates": "day-first"}),
    ],
)
def test_two_readings_ask_for_the_option(tmp_path: Path, content: str, named: str, forms: dict[str, str]) -> None:
    with pytest.raises(Failed) as failed:
        rows(tmp_path, content)
    assert named in failed.value.fix
    assert "line 2" in failed.value.message
    assert rows(tmp_path, content, **forms)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("a;b\n1;2\n", "line 1: there is no header"),
        ("\n\n", "the file is empty"),
        ("datetime,energy,power\n2018-08-24,1,2\n", "columns energy and power"),
        ("start,timestamp,value\n2018-08-24,1,2\n", "columns start and timestamp"),
        ("datetime,usage (MWh)\n2018-08-24,1\n", "neither kW nor kWh"),
        ("datetime,usage (kW)\n2018-08-24,1\n", "is in kW, not kWh"),
        ("datetime,value\n", "line 1: there is no value"),
        ("datetime,value\n2018-08-24,1,5\n2018-08-25,1\n", "line 2: has 3 columns"),
    ],
)
def test_unusable_file_is_refused_with_its_line(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(Failed, match=r"a\.csv") as failed:
        rows(tmp_path, content)
    assert named in failed.value.message
    assert failed.value.fix


def test_units_are_required_unless_the_header_has_them(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="units"):
        rows(tmp_path, "datetime,value\n2018-08-24,1\n", None)
    assert rows(tmp_path, "datetime,energy kWh\n2018-08-24,1\n", None) == [(DAY, 1.0)]


@pytest.mark.parametrize("footer", ["Total,5", ",5", "Exported by the portal", "Mean,2,3", '"Sum, all",5'])
def test_footer_is_left_out_and_reported(tmp_path: Path, footer: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"datetime,value\n2018-08-24,1\n\n{footer}\n")
    (post,) = files.read(path, files.Defaults("2", "kWh"))
    assert len(post.data) == 1
    assert any("line 4: left out as a footer" in each for each in post.notes)


def test_many_rows_without_a_time_are_no_footer(tmp_path: Path) -> None:
    assert len(rows(tmp_path, "datetime,value\n2018-08-24,1\n" + ",1\n" * 10)) == 1
    assert len(rows(tmp_path, "datetime,value\n2018-08-24,1\n" + ",1\n" * 11)) == 12


@pytest.mark.parametrize("last", ["soon,5", "2018-13-45,5", "2018-08-24T0,5"])
def test_reading_with_a_wrong_time_is_no_footer(tmp_path: Path, last: str) -> None:
    assert len(rows(tmp_path, f"datetime,value\n2018-08-24,1\n{last}\n")) == 2


def test_rows_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('note,datetime,value\n"two\nlines",2018-08-24,1\n\n,2018-08-25,x\n')
    (post,) = files.read(path, files.Defaults("2", "kWh"))
    assert [post.where(n) for n in range(2)] == ["a.csv, line 3", "a.csv, line 5"]


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("1.234,5", "comma", "1234.5"),
        ("1,234.5", "point", "1234.5"),
        ("1,234", "point", "1234"),
        ("1,234", "comma", "1.234"),
        ("-0,5", "comma", "-0.5"),
        ("0,5", "point", "0,5"),
        ("12,34,56", "comma", "12,34,56"),
        ("1.2", "comma", "1.2"),
        ("1e3", "comma", "1e3"),
        ("n/a", "comma", "n/a"),
        ("5", "comma", "5"),
        (",5", "comma", ".5"),
    ],
)
def test_numbers_are_read_by_the_decimal_mark(text: str, decimal: str, expected: str) -> None:
    assert dialect.number(text, decimal) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-08-24T00-15-00Z", "2018-08-24T00-15-00Z"),
        ("2018-08-24T00:15:00+02:00", "2018-08-24T00:15:00+02:00"),
        ("08/24/2018 12:15 PM", "2018-08-24T12:15:00Z"),
        ("8/24/2018, 1:15:30 pm", "2018-08-24T13:15:30Z"),
        ("24.8.2018 9:05", "2018-08-24T09:05:00Z"),
        ("24.08.18", "24.08.18"),
        ("soon", "soon"),
    ],
)
def test_times_become_iso_8601(text: str, expected: str) -> None:
    assert dialect.iso(text, "month-first") == expected


def test_parquet_dates_are_midnight(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"Date": pa.array([date(2018, 8, 24)]), "kWh": [1.5]}), path)
    (post,) = files.read(path, files.Defaults("2"))
    assert (post.units, post.data) == ("kWh", [{"datetime": DAY, "value": 1.5}])
