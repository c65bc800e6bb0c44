"""query, tables, topics, last, tail: queries, output and exit codes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from adapters.cli.notices import exit_code
from adapters.client.errors import ClientError
from broker.contract.storage.topics import RecorderStats
from broker.runtime.settings import Settings
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import SCHEMA, START_AT, FakeBus, FakeRecorder, FakeSession

ROOM_1, ROOM_2 = "/readings/room-1/temperature", "/readings/room-2/temperature"


@pytest.fixture
def recorded(recorder: FakeRecorder) -> FakeRecorder:
    for number in range(3):
        recorder.record(ROOM_1, f'{{"value":{number}}}')
    recorder.record(ROOM_2, '{"value":9}')
    recorder.record("raw/one", b"\xff\x00")
    return recorder


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_query_prints_json_lines_in_a_pipe(scaup: Scaup, recorded: FakeRecorder) -> None:
    result = scaup("query", "SELECT topic, seq FROM messages WHERE topic LIKE '/%' ORDER BY seq")
    assert result.exit_code == 0
    assert lines(result.stdout) == [{"topic": topic, "seq": n} for n, topic in enumerate([ROOM_1] * 3 + [ROOM_2], start=1)]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("2.5", 2.5),
        ("true", True),
        ("null", None),
        ("room-1", "room-1"),
        ('"3"', "3"),
        ("", ""),
        ("nan", "nan"),
        ("1_0", "1_0"),
    ],
)
def test_parameters_have_the_type_that_they_look_like(
    scaup: Scaup, recorder: FakeRecorder, text: str, expected: object
) -> None:
    result = scaup("query", "-p", f"x={text}", "SELECT $x AS x")
    assert recorder.requests[0]["parameters"] == {"x": expected}
    assert lines(result.stdout) == [{"x": expected}]


@pytest.mark.parametrize("pair", ["x", "=1", "1x=2", "a b=c"])
def test_a_parameter_without_a_name_is_wrong_usage(scaup: Scaup, pair: str) -> None:
    result = scaup("query", "-p", pair, "SELECT 1")
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr


def test_sql_from_standard_input(scaup: Scaup) -> None:
    assert lines(scaup("query", "-", stdin="SELECT 1 AS a\n").stdout) == [{"a": 1}]
    assert scaup("query", "-", stdin="  \n").exit_code == 2


def test_limits_are_passed_on(scaup: Scaup, recorder: FakeRecorder, bus: FakeBus) -> None:
    scaup("query", "SELECT 1", "--max-rows", "7", "--timeout", "2.5")
    assert (recorder.requests[0]["max_rows"], recorder.requests[0]["timeout_s"]) == (7, 2.5)
    expiry_s = bus.published[0][1]
    assert expiry_s is not None
    assert 2 <= expiry_s <= 10, "a question must not wait for a recorder that comes back tomorrow"


@pytest.mark.parametrize(("output_format", "expected"), [("table", 1_000), ("markdown", 1_000), ("csv", None), ("jsonl", None)])
def test_tables_for_people_are_bounded(scaup: Scaup, recorder: FakeRecorder, output_format: str, expected: int | None) -> None:
    scaup("query", "SELECT 1", "-o", output_format)
    assert recorder.requests[0]["max_rows"] == expected


def test_a_truncated_result_is_reported_on_standard_error(scaup: Scaup, recorder: FakeRecorder) -> None:
    result = scaup("query", "SELECT * FROM range(5)", "--max-rows", "4")
    assert len(lines(result.stdout)) == 4
    assert "--max-rows" in result.stderr
    recorder.most_rows = 4
    assert "piece by piece" in scaup("query", "SELECT * FROM range(5)").stderr


def test_an_empty_result_still_has_its_header(scaup: Scaup) -> None:
    result = scaup("query", "SELECT 1 AS a, 2 AS b WHERE false", "-o", "csv")
    assert (result.exit_code, result.stdout) == (0, "a,b\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"kind": "refused", "message": "only SELECT is allowed"}, 4),
        ({"kind": "limit", "message": "stopped after 1 s"}, 4),
        ({"kind": "invalid", "message": "no such table", "position": 14}, 2),
        ({"kind": "failed", "message": "disk on fire"}, 1),
    ],
)
def test_errors_of_the_recorder(scaup: Scaup, recorder: FakeRecorder, error: dict[str, object], code: int) -> None:
    recorder.error = error
    result = scaup("query", "SELECT * FROM nothing")
    assert result.exit_code == code
    assert str(error["message"]) in result.stderr
    assert "Fix: " in result.stderr
    assert result.stdout == ""
    assert ("^" in result.stderr) is ("position" in error)


def test_a_lost_part_is_noticed(scaup: Scaup, recorder: FakeRecorder) -> None:
    recorder.lose_part = 2
    result = scaup("query", "SELECT * FROM range(9)")
    assert result.exit_code == 3
    assert "lost" in result.stderr


def test_a_silent_recorder_is_not_reachable(scaup: Scaup, recorder: FakeRecorder) -> None:
    recorder.silent = True
    result = scaup("query", "SELECT 1")
    assert result.exit_code == 3
    assert "did not answer" in result.stderr


def test_a_refusal_of_the_broker_exits_with_4(scaup: Scaup, bus: FakeBus) -> None:
    bus.refuse = True
    result = scaup("query", "SELECT 1")
    assert result.exit_code == 4
    assert "0x87" in result.stderr


def test_tables(scaup: Scaup, recorded: FakeRecorder) -> None:
    found = {each["name"]: each for each in lines(scaup("tables").stdout)}
    assert found["warm_room"]["kind"] == "view"
    assert found["room_temperature"]["rows"] == 0
    columns = found["room_temperature"]["columns"]
    assert columns == {
        "received_at": "TIMESTAMPTZ",
        "event_at": "TIMESTAMPTZ",
        "room": "VARCHAR",
        "sensor": "VARCHAR",
        "celsius": "DOUBLE",
    }


def test_columns_of_one_table(scaup: Scaup) -> None:
    assert lines(scaup("tables", "valve_level").stdout)[-1] == {"column": "level", "type": "UTINYINT"}
    result = scaup("tables", "valve")
    assert result.exit_code == 2
    assert "valve_level" in result.stderr


def test_topics(scaup: Scaup, recorded: FakeRecorder) -> None:
    first, second = lines(scaup("topics", "/readings/+/temperature").stdout)
    assert (first["topic"], first["messages"], first["payload"]) == (ROOM_1, 3, '{"value":2}')
    assert (first["first_seen"], first["last_seen"]) == ("2026-01-31T08:00:01Z", "2026-01-31T08:00:03Z")
    assert second["topic"] == ROOM_2
    assert lines(scaup("topics", "raw/#").stdout)[0]["payload"] == "(2 bytes)"


def test_last(scaup: Scaup, recorded: FakeRecorder) -> None:
    (found,) = lines(scaup("last", ROOM_1).stdout)
    assert (found["payload"], found["seq"], found["source"]) == ('{"value":2}', 3, "test")
    (raw,) = lines(scaup("last", "raw/+").stdout)
    assert (raw["payload"], raw["payload_raw"]) == (None, "/wA=")


def test_since(scaup: Scaup, recorded: FakeRecorder) -> None:
    since = (START_AT + timedelta(seconds=3)).isoformat()
    assert [each["seq"] for each in lines(scaup("tail", "/readings/#", "--since", since).stdout)] == [3, 4]
    assert scaup("tail", "/readings/#", "--since", "1h").stdout == ""


@pytest.mark.parametrize(("arguments", "expected"), [(["-n", "2"], [3, 4]), (["-n", "0"], []), ([], [1, 2, 3, 4])])
def test_tail_shows_the_last_messages_oldest_first(
    scaup: Scaup, recorded: FakeRecorder, arguments: list[str], expected: list[int]
) -> None:
    assert [each["seq"] for each in lines(scaup("tail", "/readings/#", *arguments).stdout)] == expected


def test_tail_for_people_is_one_line_per_message(scaup: Scaup, recorded: FakeRecorder) -> None:
    result = scaup("tail", "raw/#", "-o", "table")
    assert result.stdout == "2026-01-31 08:00:05.000Z  raw/one  (2 bytes)\n"


def test_a_history_longer_than_the_limit_is_queried_in_pieces(scaup: Scaup, recorder: FakeRecorder) -> None:
    for number in range(10):
        recorder.record(ROOM_1, str(number))
    recorder.most_rows = 4
    result = scaup("tail", ROOM_1, "--since", "2026-01-01")
    assert [each["payload"] for each in lines(result.stdout)] == [str(number) for number in range(10)]


@pytest.mark.parametrize("output_format", ["json", "parquet", "markdown"])
def test_tail_f_needs_a_format_written_row_by_row(scaup: Scaup, output_format: str) -> None:
    result = scaup("tail", "-f", "-o", output_format)
    assert result.exit_code == 2
    assert "jsonl" in result.stderr


@pytest.mark.parametrize("topic_filter", ["a/#/b", "a+", "#a", ""])
@pytest.mark.parametrize("command", ["topics", "last", "tail"])
def test_wrong_filters_are_wrong_usage(scaup: Scaup, command: str, topic_filter: str) -> None:
    result = scaup(command, topic_filter)
    assert result.exit_code == 2
    assert "Examples: '#'" in result.stderr


@pytest.mark.parametrize("command", ["topics", "last", "tail"])
def test_wrong_times_are_wrong_usage(scaup: Scaup, command: str) -> None:
    result = scaup(command, "--since", "soon")
    assert result.exit_code == 2
    assert "1h30m" in result.stderr


def file_session(data_dir: Path) -> FakeSession:
    return FakeSession(None, Settings.load({"SCAUP_DATA_DIR": str(data_dir)}))


def test_without_a_recorder_the_file_answers(scaup: Scaup, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "scaup.duckdb")) as database:
        database.execute(SCHEMA)
    result = scaup("query", "SELECT count(*) AS n FROM messages", session=file_session(tmp_path))
    assert lines(result.stdout) == [{"n": 0}]
    assert "no broker at" in result.stderr
    refused = scaup("query", "DROP TABLE messages", session=file_session(tmp_path))
    assert refused.exit_code == 4
    wrong = scaup("query", "SELECT nothing", session=file_session(tmp_path))
    assert wrong.exit_code == 2
    cut = scaup("query", "SELECT * FROM range(9)", "--max-rows", "3", session=file_session(tmp_path))
    assert len(lines(cut.stdout)) == 3
    assert "--max-rows" in cut.stderr


def test_an_offline_recorder_means_the_file_too(scaup: Scaup, bus: FakeBus, tmp_path: Path) -> None:
    bus.retain("components/recorder/state", '{"state":"offline","boot":"b","version":"1"}')
    with duckdb.connect(str(tmp_path / "scaup.duckdb")) as database:
        database.execute(SCHEMA)
    session = FakeSession(bus, Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    assert lines(scaup("query", "SELECT 1 AS a", session=session).stdout) == [{"a": 1}]


def test_without_recorder_and_file_the_fix_is_named(scaup: Scaup, tmp_path: Path) -> None:
    result = scaup("query", "SELECT 1", session=file_session(tmp_path))
    assert result.exit_code == 3
    assert "no broker at 127.0.0.1:1883" in result.stderr
    assert str(tmp_path / "scaup.duckdb") in result.stderr
    assert "make up" in result.stderr


@pytest.fixture(scope="module")
def held_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose database is open in another process, like a recorder."""
    data_dir = tmp_path_factory.mktemp("held")
    path = data_dir / "scaup.duckdb"
    code = f"import duckdb, sys; held = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield data_dir


@pytest.mark.parametrize("command", [["query", "SELECT 1"], ["tail"], ["gaps"]])
@pytest.mark.parametrize(
    ("state", "text", "fix"),
    [
        (None, "no broker at 127.0.0.1:1883", "start it with `make up`"),
        ("", "no recorder is online at 127.0.0.1:1883", "`scaup logs recorder` says why it is not connected; SCAUP_MQTT_HOST"),
        ("offline", "no recorder is online at 127.0.0.1:1883", "`scaup logs recorder` says why it is not connected; SCAUP_"),
    ],
)
def test_a_disconnected_recorder_is_not_suggested_to_be_started(
    scaup: Scaup, held_dir: Path, command: list[str], state: str | None, text: str, fix: str
) -> None:
    bus = None if state is None else FakeBus()
    if bus is not None and state:
        bus.retain("components/recorder/state", f'{{"state":"{state}","boot":"b","version":"1"}}')
    result = scaup(*command, session=FakeSession(bus, Settings.load({"SCAUP_DATA_DIR": str(held_dir)})))
    assert (result.exit_code, result.stdout) == (3, "")
    error, advice = result.stderr.splitlines()
    assert re.search(rf"scaup\.duckdb is held by process \d+, most likely the recorder, .*; and {text}", error)
    assert advice.startswith(f"Fix: {fix}")


def test_recorder_only_commands_name_both_ways_to_reach_it(scaup: Scaup) -> None:
    result = scaup("archive", "run", session=FakeSession(FakeBus()))
    assert result.exit_code == 3
    assert "Fix: start it with `make up`; if it runs, `scaup logs recorder` says why" in result.stderr


def test_a_file_that_is_not_a_database_is_named(scaup: Scaup, tmp_path: Path) -> None:
    (tmp_path / "scaup.duckdb").write_text("this is no database" * 1000)
    result = scaup("query", "SELECT 1", session=file_session(tmp_path))
    assert result.exit_code == 3
    assert "scaup.duckdb" in result.stderr


def test_every_error_has_an_exit_code_of_the_documentation() -> None:
    def all_below(error: type[ClientError]) -> set[type[ClientError]]:
        return {error}.union(*(all_below(each) for each in error.__subclasses__()))

    assert {exit_code(each("it")) for each in all_below(ClientError)} == {1, 2, 3, 4}


@pytest.mark.parametrize(("age_s", "stalled"), [(0, True), (60, False)])
def test_a_stalled_recorder_reports_the_reason(scaup: Scaup, bus: FakeBus, age_s: float, stalled: bool) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    counts = dict.fromkeys(RecorderStats.__struct_fields__, 1)
    state = {**counts, "at": at, "last_error": "the disk is full", "warning": None}
    bus.retain("components/recorder/state", '{"state":"offline","boot":"b","version":"1"}')
    bus.retain("storage/stats", json.dumps(state))
    result = scaup("query", "SELECT 1")
    assert result.exit_code == 3
    assert ("the disk is full" in result.stderr) is stalled
    assert ("there is no database" in result.stderr) is not stalled
