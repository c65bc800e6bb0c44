"""scaup verify: changes of a database by hand are detected."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from adapters.cli.ledger.ledger import PIECE
from broker.contract.sql import family_condition
from storage.schema.ledger import typed_tables
from storage.schema.typed_streams import TYPED_STREAMS, StreamCodes
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import OTHER, READING, Recording
from tests.adapters.client.fakes import START_AT

DAY = date(2026, 1, 31)
DEVICE = 2
"""Numbers of messages in the recording: a reading, an untyped device message, a stamped one, a bad one, a refused one."""
UNTYPED, STAMPED, BAD, REFUSED, PARTLY = 3, 5, 8, 10, 11
SAMPLES = {
    "fastening/driver-1/event": """{"event":"in range","job":"j","serial":"RP-1","part_number":"10-1","revision":"A","step":1,
        "target_nm":10.0,"min_nm":9.5,"max_nm":10.5,"torque_nm":10.1,"in_range":true}""",
    "fastening/catalog": '{"serials":[],"parts":[]}',
    "machines/1/reading": '{"id":1,"temperature":30.2,"fan_speed":811.6}',
    "machines/1/average": '{"average_temperature":30.2,"average_speed":811.6,"status":"IDLE"}',
    "energy/1/interval": """{"spaceship_id":1,"units":"kWh",
        "data":[{"datetime":"2018-08-24T00:00:00Z","value":3.0,"quality":"measured","coverage":1.0}]}""",
    "energy/1/anomaly": """{"spaceship_id":1,"datetime":"2018-08-24T00:00:00Z","kind":"outlier","value":9.5,"expected":3.0,
        "text":"high"}""",
    "chargers/c1/soc": '{"event":"StateOfCharge","data":{"soc":70}}',
    "widgets/w1/status": '{"event":"chargingStatus","data":{"status":"charging"}}',
    "chargers/c1/session": """{"session":"s1","widget":"w1","started_at":"2026-01-31T08:00:00Z","soc_start":12.5,
        "ended_at":"2026-01-31T08:30:00Z","soc_end":100,"duration_s":1800,"ended_by":"charged"}""",
    "charging/pairs": '{"pairs":{"c1":"w1"}}',
}
"""A message for each typed table that the recording below does not fill otherwise."""
HIGHEST = 14 + len(SAMPLES)


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a closed recording with a message of every kind."""
    recording = Recording(tmp_path_factory.mktemp("every-kind"))
    recording.record("components/heating/state", '{"state":"online","boot":"b1","version":"1"}', ("heating", "b1", 1))
    recording.read(20.5)
    recording.record(OTHER, "any text")
    recording.publish("heating", 2, topic="/actuators/room-1", payload='{"level":14}')
    recording.publish("heating", 3, 4, topic="heating/room-1/state")
    recording.publish("heating", 5, topic="/actuators/room-1", payload='{"level":15}')
    recording.read("warm", topic="/readings/bad/temperature")
    recording.record(READING, b"\xff\xfe")
    recording.record("rejected/heating", '{"topic":"t","reason":"not JSON","payload":"x","at":"2026-01-31T08:00:00Z"}')
    recording.record("/actuators/room-2", '{"level":101}')
    recording.record("rejected/heating", '{"topic":"t"}')
    recording.record("components/heating/state", "")
    for topic, payload in SAMPLES.items():
        recording.record(topic, payload)
    recording.read(20.7)
    recording.database.close()
    return recording.folder


@pytest.fixture
def filled(every_kind: Path, tmp_path: Path) -> Iterator[Recording]:
    """A recording with a message of every kind, to change."""
    copied = _copied(every_kind, tmp_path)
    yield copied
    copied.database.close()


def _copied(folder: Path, to: Path) -> Recording:
    shutil.copy(folder / "scaup.duckdb", to)
    return Recording(to, count=HIGHEST)


def verify(scaup: Scaup, recording: Recording, *arguments: str) -> tuple[int, dict[str, dict[str, Any]], Result]:
    with recording.closed() as session:
        result = scaup("verify", *arguments, session=session)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {f"{each['check']} {each['name']}": each for each in lines}, result


def failed(lines: dict[str, dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    return {
        name: (line["missing"], line["surplus"], line["different"])
        for name, line in lines.items()
        if line["verdict"] == "failed"
    }


def test_what_the_recorder_wrote_balances(scaup: Scaup, filled: Recording) -> None:
    code, lines, result = verify(scaup, filled)
    assert (code, failed(lines)) == (0, {}), result.stdout
    assert lines["publisher heating"]["expected"] == 5
    assert lines["numbers messages"]["found"] == HIGHEST
    assert lines["typed rejected_message"]["found"] == 6
    assert f"messages 1 to {HIGHEST}: everything balances" in result.stderr


def test_an_empty_database_balances(scaup: Scaup, recording: Recording) -> None:
    code, lines, result = verify(scaup, recording)
    assert (code, failed(lines), "no messages" in result.stderr) == (0, {}, True)


def test_one_message_balances(scaup: Scaup, recording: Recording) -> None:
    recording.record(OTHER)
    code, lines, _ = verify(scaup, recording)
    assert (code, lines["numbers messages"]["expected"]) == (0, 1)


TYPED = [table.name for table in typed_tables()]


# A check costs far more than a change, so many messages, or tables, are changed at once where each is reported by itself.
THIRDS = [range(first, HIGHEST + 1, 3) for first in (1, 2, 3)]
"""Every message is in one of them; neighbours are in different ones."""


@pytest.mark.parametrize("numbers", [[1], [HIGHEST], *THIRDS])
def test_removed_messages_are_missing(scaup: Scaup, filled: Recording, numbers: Sequence[int]) -> None:
    filled.change(*(f"DELETE FROM live.messages WHERE number = {number}" for number in numbers))
    code, lines, result = verify(scaup, filled)
    assert code == 1
    assert failed(lines)["numbers messages"] == (len(numbers), 0, 0)
    assert f"no message {', '.join(map(str, numbers))};" in lines["numbers messages"]["means"]
    assert "do not balance" in result.stderr


@pytest.mark.parametrize("numbers", [[1], [HIGHEST], *THIRDS])
def test_doubled_messages_are_detected(scaup: Scaup, filled: Recording, numbers: Sequence[int]) -> None:
    for number in numbers:
        filled.double("messages", number)
    code, lines, _ = verify(scaup, filled)
    assert code == 1
    assert failed(lines)["numbers messages"] == (0, len(numbers), 0)
    assert f"more than once {', '.join(map(str, numbers))};" in lines["numbers messages"]["means"]


@pytest.mark.parametrize("tables", [TYPED, *([each] for each in TYPED[:2])], ids=["all", *TYPED[:2]])
@pytest.mark.parametrize("row", ["min", "max"])
@pytest.mark.parametrize("how", ["removed", "doubled", "moved"])
def test_every_row_of_a_typed_table_counts(scaup: Scaup, filled: Recording, tables: list[str], row: str, how: str) -> None:
    numbers = {table: filled.rows(f"SELECT {row}(number) FROM live.{table}")[0][0] for table in tables}
    for table, number in numbers.items():
        assert number is not None
        if how == "removed":
            filled.change(f"DELETE FROM live.{table} WHERE number = {number}")
        elif how == "doubled":
            filled.double(table, number)
        else:
            filled.change(f"UPDATE live.{table} SET number = {UNTYPED} WHERE number = {number}")
    code, lines, _ = verify(scaup, filled)
    expected = {"removed": (1, 0, 0), "doubled": (0, 1, 0), "moved": (1, 1, 0)}[how]
    assert (code, failed(lines)) == (1, {f"typed {table}": expected for table in tables})
    for table, number in numbers.items():
        assert f"messages {number if how != 'moved' else min(number, UNTYPED)}" in lines[f"typed {table}"]["means"]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("room_temperature", "celsius = 20.500001"),
        ("room_temperature", "celsius = NULL"),
        ("room_temperature", "sensor = 'sensor-2'"),
        ("room_temperature", "room = 'room-2'"),
        ("room_temperature", "received_at = received_at + INTERVAL 1 MICROSECOND"),
        ("room_temperature", "event_at = received_at"),
        ("valve_level", "level = level + 1"),
        ("component_state", "version = '2'"),
        ("rejected_message", "reason = 'none'"),
        ("rejected_message", "payload = 'changed'"),
        ("rejected_message", "payload_raw = 'changed'::BLOB"),
        ("rejected_message", "component = 'other'"),
    ],
)
def test_a_changed_typed_value_is_detected(scaup: Scaup, filled: Recording, table: str, change: str) -> None:
    filled.change(f"UPDATE live.{table} SET {change} WHERE number = (SELECT min(number) FROM live.{table})")
    code, lines, _ = verify(scaup, filled)
    assert (code, failed(lines)) == (1, {f"typed {table}": (0, 0, 1)})
    assert "1 with other values" in lines[f"typed {table}"]["means"]


@pytest.mark.parametrize(
    ("number", "change", "tables"),
    [
        (DEVICE, "payload = replace(payload, '20.5', '20.6')", ["room_temperature"]),
        (DEVICE, "payload = 'garbage'", ["room_temperature", "rejected_message"]),
        (DEVICE, "payload = NULL, payload_raw = 'x'::BLOB", ["room_temperature", "rejected_message"]),
        (DEVICE, "topic = '/readings/room-9/temperature'", ["room_temperature"]),
        (DEVICE, "topic = 'other'", ["room_temperature"]),
        (UNTYPED, f"topic = '{READING}'", ["rejected_message"]),
        (BAD, "payload = '{}'", ["room_temperature", "rejected_message"]),
        (REFUSED, "payload = replace(payload, 'not JSON', 'none')", ["rejected_message"]),
        (PARTLY, "payload = '{\"level\":99}'", ["valve_level", "rejected_message"]),
    ],
)
def test_a_changed_message_of_a_typed_stream_is_detected(
    scaup: Scaup, filled: Recording, number: int, change: str, tables: list[str]
) -> None:
    filled.change(f"UPDATE live.messages SET {change} WHERE number = {number}")
    code, lines, _ = verify(scaup, filled)
    assert (code, sorted(failed(lines))) == (1, sorted(f"typed {table}" for table in tables))


@pytest.mark.parametrize(("change", "counts"), [("seq = 9", (4, 0, 0)), ("seq = 2", (1, 1, 0)), ("boot = 'b2'", (1, 0, 0))])
def test_a_changed_stamp_is_detected(scaup: Scaup, filled: Recording, change: str, counts: tuple[int, int, int]) -> None:
    filled.read(21)
    filled.change(f"UPDATE live.messages SET {change} WHERE number = {STAMPED}")
    with filled.closed() as session:
        result = scaup("verify", "--all", session=session)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    wrong = {(each["name"], each["boot"]): each for each in lines if each["verdict"] == "failed"}
    line = wrong[("heating", "b1")]
    assert (line["missing"], line["surplus"], line["different"]) == counts
    assert "`scaup gaps heating` shows which" in line["means"]


@pytest.mark.parametrize("change", ["payload = 'other'", "qos = 0"])
def test_a_changed_untyped_message_is_not_detected(scaup: Scaup, filled: Recording, change: str) -> None:
    filled.change(f"UPDATE live.messages SET {change} WHERE number = {UNTYPED}")
    assert verify(scaup, filled)[0] == 0


@pytest.mark.parametrize(
    ("seqs", "code", "counts"),
    [
        ([1, 2, 4], 1, (1, 0)),
        ([1, 2, 2], 1, (0, 1)),
        ([1, 3, 2], 0, (0, 0)),
    ],
)
def test_messages_of_publishers_balance(
    scaup: Scaup, recording: Recording, seqs: list[int], code: int, counts: tuple[int, int]
) -> None:
    recording.publish("heating", *seqs)
    exit_code, lines, _ = verify(scaup, recording)
    line = lines["publisher heating"]
    assert (exit_code, line["missing"], line["surplus"]) == (code, *counts)
    assert line["expected"] == line["found"] + line["expired"] + line["before"] + line["missing"]


def test_what_was_published_before_the_recording_balances(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 7, 8)
    code, lines, _ = verify(scaup, recording)
    line = lines["publisher heating"]
    assert (code, line["expected"], line["found"], line["before"]) == (0, 8, 2, 6)
    assert "6 before the recording" in line["means"]


@pytest.mark.parametrize(("counted", "code", "counts"), [(2, 0, (0, 0)), (1, 1, (1, 0)), (3, 1, (0, 1))])
def test_expired_messages_balance_by_count(
    scaup: Scaup, recording: Recording, counted: int, code: int, counts: tuple[int, int]
) -> None:
    recording.read(1, 2, 3, 4)
    recording.change(
        "DELETE FROM live.messages WHERE number IN (2, 3)", "DELETE FROM live.room_temperature WHERE number IN (2, 3)"
    )
    recording.change(f"INSERT INTO expired_message VALUES ('{DAY}', NULL, NULL, {counted}, now())")
    exit_code, lines, _ = verify(scaup, recording)
    line = lines["numbers messages"]
    assert (exit_code, line["missing"], line["surplus"], line["found"]) == (code, *counts, 2)


def test_a_publisher_whose_messages_expired_balances(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 2, 3, 4)
    recording.expire(DAY, "heating", "b1", 2, 3)
    code, lines, _ = verify(scaup, recording)
    assert (code, lines["publisher heating"]["expired"], lines["numbers messages"]["expired"]) == (0, 2, 2)


def test_only_what_was_recorded_since_is_balanced(scaup: Scaup, filled: Recording) -> None:
    filled.change("DELETE FROM live.messages WHERE number = 4")
    filled.publish("heating", 6, 7, at_s=3600)
    since = ["--since", "2026-01-31T08:30:00Z"]
    code, lines, result = verify(scaup, filled, *since)
    assert (code, failed(lines), lines["publisher heating"]["expected"]) == (0, {}, 2)
    assert f"messages {HIGHEST + 1} to {HIGHEST + 2}" in result.stderr


def test_a_missing_last_message_is_found_by_its_typed_row(scaup: Scaup, filled: Recording) -> None:
    filled.change(f"DELETE FROM live.messages WHERE number = {HIGHEST}")
    code, lines, _ = verify(scaup, filled)
    assert (code, failed(lines)) == (1, {"numbers messages": (1, 0, 0), "typed room_temperature": (0, 1, 0)})


def test_a_distant_number_is_found_quickly(scaup: Scaup, filled: Recording) -> None:
    filled.change(f"UPDATE live.messages SET number = 10 * {PIECE} WHERE number = {UNTYPED}")
    code, lines, _ = verify(scaup, filled)
    assert code == 1
    assert f"no message {UNTYPED}, {HIGHEST + 1} to {10 * PIECE - 1}" in lines["numbers messages"]["means"]


def test_pieces_and_halves_give_the_same_balance(scaup: Scaup, filled: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.change("DELETE FROM live.messages WHERE number IN (4, 5)", f"DELETE FROM live.rejected_message WHERE number = {BAD}")
    filled.double("messages", 7)
    filled.double("valve_level", 7)
    found = []
    for size in (PIECE, 5):
        monkeypatch.setattr("adapters.cli.ledger.ledger.PIECE", size)
        code, lines, _ = verify(scaup, filled)
        assert code == 1
        found.append(lines)
    assert found[0] == found[1]


def test_messages_during_a_verification_make_no_difference(scaup: Scaup, filled: Recording) -> None:
    result = scaup("verify", session=filled.online())
    assert (result.exit_code, "everything balances" in result.stderr) == (0, True), result.stdout
    assert filled.rows("SELECT count(*) FROM messages WHERE topic = 'storage/query'")[0][0] > 5


def test_a_typed_table_that_refused_a_message_balances(scaup: Scaup, filled: Recording) -> None:
    filled.change(
        f"DELETE FROM live.room_temperature WHERE number = {DEVICE}",
        f"""INSERT INTO live.rejected_message SELECT number, received_at, event_at, 'recorder', topic,
            'the typed table refused it', payload, payload_raw FROM live.messages WHERE number = {DEVICE}""",
    )
    assert verify(scaup, filled)[0] == 0


def test_forged_stamp_is_shown_and_no_failure(scaup: Scaup, recording: Recording) -> None:
    recording.publish("heating", 1, 2, 3, topic="heating/room-1/state")
    recording.publish("heating", 1_000_000_000_000_000, topic="/readings/room-1/temperature")
    with recording.closed() as session:
        result = scaup("verify", session=session)
    lines = {each["check"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 0, result.stdout
    assert (lines["publisher"]["expected"], lines["publisher"]["found"], lines["publisher"]["verdict"]) == (3, 3, "ok")
    assert (lines["claimed"]["missing"], lines["claimed"]["verdict"]) == (999_999_999_999_996, "claimed")
    assert "anyone may publish there" in lines["claimed"]["means"]


def test_starts_that_balance_are_one_line_for_people(scaup: Scaup, recording: Recording) -> None:
    recording.publish("operator", 1, boot="a")
    recording.publish("operator", 1, boot="b")
    recording.publish("operator", 1, 3, boot="c")
    with recording.closed() as session:
        short = scaup("verify", "-o", "table", session=session).stdout
        every = scaup("verify", "-o", "table", "--all", session=session).stdout
    assert [line.split()[2] for line in every.splitlines() if "publisher" in line] == ["a", "b", "c"]
    assert [line.split()[1:3] for line in short.splitlines() if "publisher" in line] == [["operator", "c"], ["operator", "2"]]
    assert "2 starts" in short


@pytest.mark.parametrize(
    "topic",
    [
        *("/readings/r/temperature", "/readings//temperature", "/readings/a/b/temperature", "readings/r/temperature"),
        *("/readings/r/temperatures", "/readings/r.*/temperature", "/readings/ü €/temperature", "/actuators/x", "/actuators/"),
        *(
            "components/a-b/state",
            "componentsXa/state",
            "rejected/x",
            "rejected/x/y",
            "rejected/",
            "/readings/a\nb/temperature",
        ),
    ],
)
def test_stream_conditions_match_the_recorder(recording: Recording, topic: str) -> None:
    code = StreamCodes()[topic]
    conditions = ", ".join(family_condition(typed.stream.template) for typed in TYPED_STREAMS)
    with recording.database.cursor() as cursor:
        row = cursor.execute(f"SELECT {conditions} FROM (SELECT ? AS topic)", [topic]).fetchall()[0]
    assert [n for n, selected in enumerate(row) if selected] == ([code] if code >= 0 else [])


def test_an_archived_day_balances_with_its_files(scaup: Scaup, filled: Recording) -> None:
    filled.note_archived(DAY, rows=HIGHEST, last_number=HIGHEST)
    session_lines = _archive_lines(scaup, filled)
    assert session_lines == (0, (0, 0), HIGHEST)


@pytest.mark.parametrize(("rows", "counts"), [(HIGHEST + 1, (1, 0)), (HIGHEST - 1, (0, 1))])
def test_an_archived_file_with_other_rows_is_named(scaup: Scaup, filled: Recording, rows: int, counts: tuple[int, int]) -> None:
    filled.note_archived(DAY, rows=rows, last_number=HIGHEST)
    assert _archive_lines(scaup, filled) == (1, counts, HIGHEST)


def _archive_lines(scaup: Scaup, recording: Recording) -> tuple[int, tuple[int, int], int]:
    """The file itself does not exist: through the earlier views, its rows are still the live ones."""
    result = scaup("verify", session=recording.online())
    (line,) = [each for each in map(json.loads, result.stdout.splitlines()) if each["check"] == "archive"]
    assert line["name"] == str(DAY)
    return result.exit_code, (line["missing"], line["surplus"]), line["found"]


def test_a_day_ends_where_the_next_begins(scaup: Scaup, recording: Recording) -> None:
    recording.record(OTHER, at_s=(START_AT.replace(hour=0) + timedelta(days=1) - START_AT).total_seconds() - 1e-6)
    recording.record(OTHER, at_s=(START_AT.replace(hour=0) + timedelta(days=1) - START_AT).total_seconds())
    recording.note_archived(DAY, rows=1, last_number=2)
    assert _archive_lines(scaup, recording) == (0, (0, 0), 1)
