"""export: queries, written files, and that a file appears only when it is complete."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.cli.output.destination import whole_file
from adapters.cli.output.formats import Format
from adapters.cli.output.progress import ProgressBar, bar_line, duration
from adapters.client import pages as exporting
from adapters.client.errors import Failed, WrongUsage
from adapters.client.pages import PageSize
from adapters.client.rows import ArrowRows, Result, Rows
from broker.contract.sql import EVERYTHING
from broker.runtime.settings import ROOT, Settings
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import SavedRecording
from tests.adapters.client.fakes import START_AT, FakeSession

ROOM_1, ROOM_2 = "/readings/room-1/temperature", "/readings/room-2/temperature"
READING = b'{"sensorID":"s","type":"temperature","value":%d}'


@pytest.fixture
def recording(tmp_path: Path) -> SavedRecording:
    folder = tmp_path / "var"
    folder.mkdir()
    made = SavedRecording(folder)
    for number in range(1, 6):
        made.add(ROOM_1, READING % number, source="sim-rooms", boot="b", seq=str(number))
    made.add(ROOM_2, READING % 9)
    made.add("raw/one", b"\xff\x00", qos=0)
    return made


@pytest.fixture
def session(recording: SavedRecording) -> FakeSession:
    return recording.session()


@pytest.fixture(params=["file", "recorder"])
def either(request: pytest.FixtureRequest, recording: SavedRecording) -> FakeSession:
    """The same messages, from the file and from a recorder that answers with few rows at a time."""
    return recording.session() if request.param == "file" else FakeSession(recording.recorder())


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_messages_in_the_order_of_arrival(scaup: Scaup, either: FakeSession) -> None:
    result = scaup("export", session=either)
    assert result.exit_code == 0, result.stderr
    found = lines(result.stdout)
    assert [each["number"] for each in found] == [1, 2, 3, 4, 5, 6, 7]
    assert list(found[0]) == [
        "number",
        "received_at",
        "event_at",
        "topic",
        "payload",
        "payload_raw",
        "qos",
        "retain",
        "source",
        "boot",
        "seq",
    ]
    assert (found[0]["received_at"], found[0]["source"], found[0]["seq"]) == ("2026-01-31T08:00:01Z", "sim-rooms", 1)
    assert (found[6]["payload"], found[6]["payload_raw"], found[6]["qos"]) == (None, "/wA=", 0)


def test_filter_and_times(scaup: Scaup, either: FakeSession) -> None:
    since, until = ((START_AT + timedelta(seconds=each)).isoformat() for each in (3, 6))
    result = scaup("export", "/readings/+/temperature", "--since", since, "--until", until, session=either)
    assert [each["number"] for each in lines(result.stdout)] == [3, 4, 5], "since counts, until does not"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "csv.gz", "jsonl.gz", "json.gz", "ndjson"])
def test_the_name_of_the_file_chooses_the_format(scaup: Scaup, either: FakeSession, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"all.{kind}"
    result = scaup("export", "--output-file", str(path), session=either)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert f"7 rows in {path}" in result.stderr
    assert not path.with_name(f"{path.name}.part").exists()
    assert _numbers(path) == [1, 2, 3, 4, 5, 6, 7]


def _numbers(path: Path) -> list[int]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.column("payload_raw").to_pylist()[6] == b"\xff\x00"
        return list(table.column("number").to_pylist())
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    if ".csv" in path.name:
        return [int(each["number"]) for each in csv.DictReader(io.StringIO(text))]
    found = json.loads(text) if ".json" in path.suffixes else lines(text)
    return [int(each["number"]) for each in found]


def test_option_o_overrides_the_ending_of_the_file(scaup: Scaup, session: FakeSession, tmp_path: Path) -> None:
    scaup("export", "-o", "csv", "--output-file", str(tmp_path / "all.txt"), session=session)
    assert (tmp_path / "all.txt").read_text().startswith("number,received_at,")


def test_nothing_recorded_is_an_empty_file_with_columns(scaup: Scaup, either: FakeSession) -> None:
    header = scaup("export", "nothing/here", "-o", "csv", session=either).stdout
    assert header == "number,received_at,event_at,topic,payload,payload_raw,qos,retain,source,boot,seq\n"
    assert json.loads(scaup("export", "nothing/here", "-o", "json", session=either).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--output-file", "nowhere/all.csv"], "mkdir -p"),
        (["--output-file", "all"], "-o csv|json|jsonl|parquet"),
        (["--output-file", "all.parquet.gz"], "all.parquet"),
        (["--output-file", "."], "-o csv"),
        (["--sql", "SELECT 1", "--since", "1h"], "--sql"),
        (["#", "--sql", "SELECT 1"], "--sql"),
        (["#", "--table", "room_temperature"], "--table"),
        (["-o", "table"], "csv"),
        (["a+"], "Examples"),
    ],
)
def test_wrong_usage(scaup: Scaup, session: FakeSession, arguments: list[str], text: str) -> None:
    result = scaup("export", *arguments, session=session)
    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr


def test_a_file_is_only_replaced_with_force(scaup: Scaup, session: FakeSession, tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("precious")
    refused = scaup("export", "--output-file", str(path), session=session)
    assert (refused.exit_code, path.read_text()) == (2, "precious")
    assert "--force" in refused.stderr
    assert scaup("export", "--output-file", str(path), "--force", session=session).exit_code == 0
    assert path.read_text().startswith("number,")


def test_a_full_disk_is_reported(scaup: Scaup, session: FakeSession) -> None:
    result = scaup("export", "-o", "csv", "--output-file", "/dev/full", session=session)
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), WrongUsage("x")])
def test_a_failed_export_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def write_half() -> None:
        with whole_file(tmp_path / "all.csv", force=False) as file:
            file.write(b"half")
            raise error

    with pytest.raises((Failed, KeyboardInterrupt, WrongUsage)):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_two_exports_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    with whole_file(path, force=False) as first:
        first.write(b"first")
        with pytest.raises(WrongUsage, match="another export"), whole_file(path, force=False):
            pass
    assert path.read_bytes() == b"first"


def test_the_remains_of_a_killed_export_are_overwritten(tmp_path: Path) -> None:
    (tmp_path / "all.csv.part").write_text("left by kill -9, and longer")
    with whole_file(tmp_path / "all.csv", force=False) as file:
        file.write(b"new")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("all.csv", "new")]


def test_a_table_with_numbers_comes_in_pieces(scaup: Scaup, either: FakeSession) -> None:
    found = lines(scaup("export", "--table", "room_temperature", session=either).stdout)
    assert [each["celsius"] for each in found] == [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    since = (START_AT + timedelta(seconds=5)).isoformat()
    later = lines(scaup("export", "--table", "room_temperature", "--since", since, session=either).stdout)
    assert [each["celsius"] for each in later] == [5.0, 9.0]


def test_a_table_without_numbers_is_one_query(scaup: Scaup, either: FakeSession) -> None:
    result = scaup("export", "--table", "message_mean", "-o", "csv", session=either)
    assert result.exit_code == 0
    assert result.stdout.startswith("received_at,start_at,topic,")


def test_a_table_that_is_not_there_is_wrong_usage(scaup: Scaup, either: FakeSession) -> None:
    result = scaup("export", "--table", 'no "such" table', session=either)
    assert result.exit_code == 2
    assert "such" in result.stderr


def test_sql_is_one_query_and_a_truncated_answer_is_refused(scaup: Scaup, recording: SavedRecording, tmp_path: Path) -> None:
    bus = recording.recorder()
    assert bus.recorder is not None
    path = tmp_path / "x.csv"
    ask = ("export", "--sql", "SELECT range AS n FROM range(9)", "--output-file", str(path))
    bus.recorder.most_rows = 8
    cut = scaup(*ask, session=FakeSession(bus))
    assert (cut.exit_code, path.exists()) == (4, False)
    assert "in pieces" in cut.stderr
    bus.recorder.most_rows = 9
    assert scaup(*ask, session=FakeSession(bus)).exit_code == 0
    assert path.read_text() == "n\n" + "".join(f"{n}\n" for n in range(9))


def test_an_export_excludes_later_messages_and_splits_at_limits(recording: SavedRecording) -> None:
    for number in range(8, 3001):
        recording.add("many/a", b"%d" % number, START_AT + timedelta(minutes=1, microseconds=number))
    bus = recording.recorder()
    assert bus.recorder is not None
    bus.recorder.most_rows = 300
    session = FakeSession(bus)
    selection = exporting.select(session, "messages", EVERYTHING)
    extent = exporting.extent(session, selection)
    assert (extent.rows, extent.first, extent.last) == (3000, 1, 3000)
    found: list[int] = []
    for page in exporting.pages(session, selection, extent, PageSize(rows=250)):
        bus.recorder.database.execute(
            "INSERT INTO messages SELECT * REPLACE ((SELECT max(number) + 1 FROM messages) AS number) "
            "FROM messages WHERE number = 1"
        )
        found += [number for batch in page for number in batch.column("number").to_pylist()]
    assert found == list(range(1, 3001))
    assert max(len(each["sql"]) for each in bus.recorder.requests) < 500


def test_rows_that_alone_exceed_a_limit_are_an_error(scaup: Scaup, recording: SavedRecording) -> None:
    bus = recording.recorder()
    assert bus.recorder is not None
    answer = bus.recorder.answer
    limited = {"kind": "limit", "message": "the result is larger than 256 MiB"}
    recorder = bus.recorder

    def refuse_rows(payload: bytes) -> object:
        recorder.error = limited if b"ORDER BY number" in payload else None
        return answer(payload)

    recorder.answer = refuse_rows  # type: ignore[method-assign, assignment]
    result = scaup("export", session=FakeSession(bus))
    assert result.exit_code == 4
    assert "256 MiB" in result.stderr
    assert 3 < len(recorder.requests) < 20


def test_the_file_of_an_earlier_release_is_exported_too(scaup: Scaup, tmp_path: Path) -> None:
    sql = next((ROOT / "storage" / "database" / "migrations").glob("0001_*.sql")).read_text()
    with duckdb.connect(str(tmp_path / "scaup.duckdb")) as database:
        database.execute(sql)
        database.execute(
            "INSERT INTO messages (received_at, topic, payload, qos, retain, session) VALUES (now(), 'a', 'x', 1, false, 1)"
        )
    session = FakeSession(None, Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    (found,) = lines(scaup("export", session=session).stdout)
    assert (found["topic"], found["payload"], "number" in found) == ("a", "x", False)


CSV = """at,text,raw,flag,number,exact,list,local,none
2026-01-31T08:00:00.000005Z,"a,""b""
",/w==,true,1.5,1.10,"[1,2]",2026-01-31T08:00:00.000005,
,,,false,nan,,,,
2026-01-31T08:00:00Z,,,,,-3.00,[],,
1969-12-31T00:00:00Z,größer,eA==,true,1e+300,,[3],,
"""
JSON = [
    r"""{"at":"2026-01-31T08:00:00.000005Z","text":"a,\"b\"\n","raw":"/w==","flag":true,"number":1.5,"exact":1.10,"""
    """"list":[1,2],"local":"2026-01-31T08:00:00.000005","none":null}""",
    """{"at":null,"text":null,"raw":null,"flag":false,"number":null,"exact":null,"list":null,"local":null,"none":null}""",
    """{"at":"2026-01-31T08:00:00Z","text":"","raw":"","flag":null,"number":null,"exact":-3.00,"""
    """"list":[],"local":null,"none":null}""",
    """{"at":"1969-12-31T00:00:00Z","text":"größer","raw":"eA==","flag":true,"number":1e300,"exact":null,"""
    """"list":[3],"local":null,"none":null}""",
]


@pytest.mark.parametrize(
    ("kind", "expected", "empty"),
    [
        (Format.CSV, CSV, CSV.splitlines()[0] + "\n"),
        (Format.JSONL, "".join(f"{each}\n" for each in JSON), ""),
        (Format.JSON, "[\n" + ",\n".join(JSON) + "\n]\n", "[]\n"),
    ],
)
def test_values_of_every_type(kind: Format, expected: str, empty: str) -> None:
    at = datetime(2026, 1, 31, 8, 0, 0, 5, tzinfo=UTC)
    table = pa.table(
        {
            "at": pa.array(
                [at, None, at.replace(microsecond=0), datetime(1969, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC")
            ),
            "text": ['a,"b"\n', None, "", "größer"],
            "raw": pa.array([b"\xff", None, b"", b"x"], pa.binary()),
            "flag": [True, False, None, True],
            "number": [1.5, float("nan"), None, 1e300],
            "exact": pa.array([Decimal("1.10"), None, Decimal("-3.00"), None], pa.decimal128(5, 2)),
            "list": [[1, 2], None, [], [3]],
            "local": pa.array([at.replace(tzinfo=None), None, None, None], pa.timestamp("ns")),
            "none": pa.nulls(4),
        }
    )
    rows = Rows(table.column_names, list(ArrowRows(table.schema, table.to_batches()).rows()))
    for result in (ArrowRows(table.schema, table.to_batches(3)), ArrowRows(table.schema, table.to_batches()), rows):
        assert written(result, kind) == expected
    for result in (ArrowRows(table.schema, table.slice(0, 0).to_batches()), Rows(table.column_names, [])):
        assert written(result, kind) == empty


def test_instants_without_a_python_type_are_written_as_text() -> None:
    table = duckdb.connect().sql("SELECT 'infinity'::TIMESTAMPTZ AS at, DATE '290000-01-02' AS day").to_arrow_table()
    assert written(ArrowRows(table.schema, table.to_batches()), Format.CSV) == "at,day\ninfinity,290000-01-02\n"


def written(result: Result, kind: Format) -> str:
    file = io.BytesIO()
    kind.write(result, file)
    return file.getvalue().decode()


def test_small_batches_become_one_row_group() -> None:
    table = pa.table({"n": list(range(1000))})
    file = io.BytesIO()
    Format.PARQUET.write(ArrowRows(table.schema, table.to_batches(10)), file)
    read = pq.ParquetFile(file)
    assert (read.metadata.num_row_groups, read.read()) == (1, table)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (6.6, "0:07"), (750, "12:30"), (11_100, "3:05:00"), (2 * 86_400 + 5, "2 d 0:00:05"), (-3, "0:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_bar() -> None:
    assert bar_line(250, 1000, "rows", 30) == " 25% ██████░░░░░░░░░░░░░░░░░░ 250 of 1,000 rows, 0:30 left"
    assert bar_line(0, 0, "rows", 0, "at the end").endswith("0 of 0 rows, 0:00 left, at the end")


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(2, "rows") as bar:
        bar.advance(2)
    assert capsys.readouterr().err == ""
