"""The commands below `scaup torque`, and its menu."""

import json
from datetime import timedelta
from typing import Any

import pytest

from adapters.cli.systems.fastening.lines import Line, Tone
from adapters.cli.systems.fastening.terminal import Choice, Screen, chosen_from
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.test_torque_console import COMPLETE, WHOLE_JOB, TorqueBus, error, event, granted, raising
from tests.adapters.cli.test_torque_dialogue import SAMPLE_TEXT
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder, FakeSession

SCHEMA = """
CREATE TABLE fastening (serial VARCHAR, step INTEGER, torque_nm DOUBLE, target_nm DOUBLE, min_nm DOUBLE, max_nm DOUBLE,
    in_range BOOLEAN, recorded_at TIMESTAMPTZ, driver VARCHAR);
CREATE TABLE fastening_event (number BIGINT, received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, driver VARCHAR, event VARCHAR,
    job VARCHAR,
    serial VARCHAR, part_number VARCHAR, revision VARCHAR, step INTEGER, torque_nm DOUBLE, target_nm DOUBLE, min_nm DOUBLE,
    max_nm DOUBLE, in_range BOOLEAN, void BOOLEAN, asked BOOLEAN, reason VARCHAR);
CREATE TABLE serial_number (serial VARCHAR, part_id BIGINT);
CREATE TABLE part (part_id BIGINT, part_number VARCHAR, revision VARCHAR);
CREATE TABLE step (part_id BIGINT, step INTEGER, target_nm DOUBLE, min_nm DOUBLE, max_nm DOUBLE);
INSERT INTO serial_number VALUES ('RP-1', 7), ('RP-2', 7), ('RP-3', 8), ('RP-4', 9), ('RP-5', 10);
INSERT INTO part VALUES (7, '10-1', 'B'), (8, '10-2', 'A'), (9, '10-3', 'A');
INSERT INTO step VALUES (7, 1, 10, 9.5, 10.5), (7, 2, 10, 9.5, 10.5), (7, 3, 10, 9.5, 10.5), (8, 1, 5, 4, 6);
"""


@pytest.fixture
def bus(bus: FakeBus) -> TorqueBus:
    """A bus with a recorder and a fastening controller."""
    assert bus.recorder is not None
    bus.recorder.database.execute(SCHEMA)
    return TorqueBus(bus.recorder, bus.kept)


def fasten(recorder: FakeRecorder, serial: str, step: int, torque_nm: float, in_range: bool = True) -> None:
    row = [serial, step, torque_nm, 10, 9.5, 10.5, in_range, START_AT, "driver-1"]
    recorder.database.execute("INSERT INTO fastening VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def happen(recorder: FakeRecorder, event: str, torque_nm: float | None, part: str = "10-1", **more: Any) -> None:
    count = recorder.database.execute("SELECT count(*) FROM fastening_event").fetchone()
    number = (count or (0,))[0]
    at = START_AT + timedelta(seconds=number)
    row = [
        number,
        at,
        at,
        "driver-1",
        event,
        "j1",
        "RP-1",
        part,
        "B",
        more.get("step", 1),
        torque_nm,
        10,
        9.5,
        more.get("max_nm", 10.5),
    ]
    row += [event == "in range", more.get("void"), None, None]
    recorder.database.execute(f"INSERT INTO fastening_event VALUES ({', '.join('?' * len(row))})", row)


def rows(scaup: Scaup, *arguments: str) -> list[dict[str, Any]]:
    result = scaup("torque", *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_results_are_in_the_order_of_the_steps(scaup: Scaup, recorder: FakeRecorder) -> None:
    for step, torque_nm in ((2, 13.15), (1, 10.098)):
        fasten(recorder, "RP-1", step, torque_nm)
    result = scaup("torque", "results", "RP-1")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found[0] == {
        "serial": "RP-1", "step": 1, "torque_nm": 10.098, "target_nm": 10.0, "min_nm": 9.5, "max_nm": 10.5, "in_range": True,
        "recorded_at": "2026-01-31T08:00:00Z", "driver": "driver-1",
    }  # fmt: skip
    assert [each["torque_nm"] for each in found] == [10.098, 13.15]
    assert result.stderr == "not fastened yet: step 3\n"


def test_results_of_a_whole_serial_have_no_hint(scaup: Scaup, recorder: FakeRecorder) -> None:
    fasten(recorder, "RP-3", 1, 5)
    assert scaup("torque", "results", "RP-3").stderr == ""


def test_results_without_any(scaup: Scaup) -> None:
    result = scaup("torque", "results", "RP-2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no results for RP-2: it has not been fastened yet" in result.stderr


@pytest.mark.parametrize("more", [[], ["--history"]])
def test_results_of_an_unknown_serial(scaup: Scaup, more: list[str]) -> None:
    result = scaup("torque", "results", "RP-9", *more)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "RP-9" in result.stderr
    assert ("not in the catalog" in result.stderr) is (not more)


def test_results_of_a_serial_that_left_the_catalog(scaup: Scaup, recorder: FakeRecorder) -> None:
    fasten(recorder, "OLD", 1, 10)
    assert [each["step"] for each in rows(scaup, "results", "OLD")] == [1]


def test_history_includes_voided_results(scaup: Scaup, recorder: FakeRecorder) -> None:
    happen(recorder, "out of range", 14.091)
    happen(recorder, "reversed", None, void=True)
    happen(recorder, "in range", 10.1)
    found = rows(scaup, "results", "RP-1", "--history")
    assert [(each["event"], each["torque_nm"], each["void"]) for each in found] == [
        ("out of range", 14.091, None), ("reversed", None, True), ("in range", 10.1, None),
    ]  # fmt: skip


def test_tables_fit_80_columns(scaup: Scaup, recorder: FakeRecorder) -> None:
    fasten(recorder, "RP-1", 1, 10.098)
    happen(recorder, "out of range", 14.091)
    happen(recorder, "in range", 10.091)
    for arguments in (["results", "RP-1"], ["spc"], ["serials"]):
        result = scaup("torque", *arguments, "-o", "table")
        assert result.exit_code == 0, result.stderr
        assert max(map(len, result.stdout.splitlines())) <= 80, arguments


def test_serials(scaup: Scaup, recorder: FakeRecorder) -> None:
    for step in (1, 2, 3):
        fasten(recorder, "RP-1", step, 10)
    fasten(recorder, "RP-2", 1, 10)
    fasten(recorder, "RP-2", 2, 14, in_range=False)
    found = [tuple(each.values()) for each in rows(scaup, "serials")]
    assert found == [
        ("RP-1", "10-1", "B", 3, 3, True),
        ("RP-2", "10-1", "B", 3, 1, False),
        ("RP-3", "10-2", "A", 1, 0, False),
        ("RP-4", "10-3", "A", 0, 0, False),
        ("RP-5", None, None, 0, 0, False),
    ]
    assert [each["serial"] for each in rows(scaup, "serials", "--part", "10-2")] == ["RP-3"]


@pytest.mark.parametrize(("more", "text"), [(["--part", "x"], "of part x"), ([], "has not been recorded yet")])
def test_serials_without_any(scaup: Scaup, recorder: FakeRecorder, more: list[str], text: str) -> None:
    if not more:
        recorder.database.execute("DELETE FROM serial_number")
    result = scaup("torque", "serials", *more)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr


def test_spc(scaup: Scaup, recorder: FakeRecorder) -> None:
    for torque_nm in (9.8, 10.0, 10.2, 10.4):
        happen(recorder, "in range", torque_nm)
    happen(recorder, "out of range", 10.6, void=True)
    happen(recorder, "reversed", None, void=True)
    (found,) = rows(scaup, "spc")
    spread_nm = 0.1**0.5  # of 9.8, 10.0, 10.2, 10.4, 10.6: mean 10.2, squares 0.16 + 0.04 + 0 + 0.04 + 0.16 over 4
    assert (found["part_number"], found["revision"], found["step"], found["n"]) == ("10-1", "B", 1, 5)
    assert (found["mean_nm"], found["out_of_range_pct"]) == (10.2, 20.0)
    assert found["sd_nm"] == pytest.approx(spread_nm, abs=1e-4)
    assert found["cp"] == pytest.approx(1.0 / (6 * spread_nm), abs=1e-3)
    assert found["cpk"] == pytest.approx(0.3 / (3 * spread_nm), abs=1e-3), "10.5 is nearer to the mean than 9.5"


def test_cpk_looks_at_the_nearer_limit(scaup: Scaup, recorder: FakeRecorder) -> None:
    for torque_nm in (9.6, 9.8):
        happen(recorder, "in range", torque_nm)
    (found,) = rows(scaup, "spc")
    assert found["cpk"] == pytest.approx(0.2 / (3 * 0.02**0.5), abs=1e-3)


@pytest.mark.parametrize("values", [[10.1], [10.1, 10.1, 10.1]])
def test_without_a_spread_there_is_no_capability(scaup: Scaup, recorder: FakeRecorder, values: list[float]) -> None:
    for torque_nm in values:
        happen(recorder, "in range", torque_nm)
    (found,) = rows(scaup, "spc", "10-1")
    assert (found["n"], found["cp"], found["cpk"], found["out_of_range_pct"]) == (len(values), None, None, 0.0)


def test_spc_by_part_step_and_limits(scaup: Scaup, recorder: FakeRecorder) -> None:
    happen(recorder, "in range", 10)
    happen(recorder, "in range", 10, step=2)
    happen(recorder, "in range", 10, max_nm=11.0)
    happen(recorder, "in range", 10, part="10-2")
    assert [(each["part_number"], each["step"], each["max_nm"]) for each in rows(scaup, "spc")] == [
        ("10-1", 1, 10.5), ("10-1", 1, 11.0), ("10-1", 2, 10.5), ("10-2", 1, 10.5),
    ]  # fmt: skip
    assert [each["part_number"] for each in rows(scaup, "spc", "10-2")] == ["10-2"]


def test_spc_of_nothing(scaup: Scaup) -> None:
    result = scaup("torque", "spc", "10-9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "10-9" in result.stderr


def test_cancel(scaup: Scaup, bus: TorqueBus) -> None:
    bus.answer_with("cancel", granted(state="idle"))
    assert rows(scaup, "cancel") == [{"driver": "driver-1", "serial": "RP-1", "cancelled": True}]
    assert bus.will is None


@pytest.mark.parametrize(("kind", "code"), [("no job", 1), ("busy", 4), ("invalid", 2), (None, 3)])
def test_cancel_that_is_not_done(scaup: Scaup, bus: TorqueBus, kind: str | None, code: int) -> None:
    if kind:
        bus.answer_with("cancel", error(kind))
    bus.deaf = kind is None
    result = scaup("torque", "cancel")
    assert (result.exit_code, result.stdout) == (code, "")


@pytest.mark.parametrize("driver", ["a/b", "+", "", "#"])
@pytest.mark.parametrize("command", ["run", "cancel"])
def test_a_driver_is_one_level(scaup: Scaup, bus: TorqueBus, command: str, driver: str) -> None:
    assert scaup("torque", command, "--driver", driver, stdin="").exit_code == 2
    assert bus.actions == []


def test_a_job_in_a_pipe(scaup: Scaup, bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), *WHOLE_JOB)
    result = scaup("torque", "run", stdin="RP-1\n")
    assert (result.exit_code, result.stdout) == (0, f"Please Input a valid serial number:\n{SAMPLE_TEXT}")


def test_wrong_then_right(scaup: Scaup, bus: TorqueBus) -> None:
    bus.answer_with("start", error("unknown serial")).answer_with("start", granted(), COMPLETE)
    result = scaup("torque", "run", stdin="RP-9\nRP-1\n")
    assert result.exit_code == 0
    assert "unknown serial: words" in result.stderr


def test_exit_codes_of_a_job(scaup: Scaup, bus: TorqueBus) -> None:
    assert scaup("torque", "run", stdin="").exit_code == 1
    bus.answer_with("start", error("busy"))
    assert scaup("torque", "run", "--serial", "RP-1", stdin="").exit_code == 4
    bus.answer_with("start", granted(), raising(KeyboardInterrupt())).answer_with("pause", granted(state="paused"))
    assert scaup("torque", "run", "--serial", "RP-1", stdin="").exit_code == 130
    bus.answer_with("start", granted(), event("driver silent")).answer_with("pause", granted(state="paused"))
    result = scaup("torque", "run", "--serial", "RP-1", stdin="")
    assert result.exit_code == 1
    assert "scaup torque run --serial RP-1 --driver driver-1" in result.stderr
    bus.deaf = True
    assert scaup("torque", "run", "--serial", "RP-1", stdin="").exit_code == 3
    assert scaup("torque", "run", session=FakeSession(), stdin="").exit_code == 3


def test_the_menu(scaup: Scaup, bus: TorqueBus, recorder: FakeRecorder) -> None:
    fasten(recorder, "RP-1", 1, 10.098)
    bus.answer_with("start", granted(), *WHOLE_JOB)
    result = scaup("torque", stdin="1\nRP-1\n2\n\nRP-1\n3\nq\nnever read\n")
    assert result.exit_code == 0
    assert SAMPLE_TEXT in result.stdout
    found = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [each.get("torque_nm") for each in found] == [10.098, *[None] * 5]
    assert result.stderr.count("1 Run a job\n2 Look up the results of a serial number\n3 List serial numbers\n4 Quit\n") == 4


def test_the_menu_goes_on_after_an_error(scaup: Scaup, bus: TorqueBus) -> None:
    bus.answer_with("start", error("busy"))
    result = scaup("torque", stdin="r\nRP-1\n2\nRP-9\n5\nzz\nl\n2\nRP-9\n")
    assert result.exit_code == 0, "the input ends, the menu ends"
    for text in ("busy: words", "not in the catalog", "'5' is not in the menu", "'zz' is not", "'l' may be 2 Look up"):
        assert text in result.stderr


@pytest.mark.parametrize("stdin", ["", "4\n", "q\n", "Quit", "2\n"])
def test_the_menu_ends(scaup: Scaup, stdin: str) -> None:
    result = scaup("torque", stdin=stdin)
    assert (result.exit_code, result.stdout) == (0, "")


CHOICES = [Choice("Run a job"), Choice("Look up the results"), Choice("List serial numbers"), Choice("Quit")]


@pytest.mark.parametrize(
    ("line", "chosen"),
    [("1", 0), (" 2 ", 1), ("R", 0), ("run", 0), ("look", 1), ("LI", 2), ("q", 3), ("l", None), ("0", None), ("run x", None)],
)
def test_the_selected_chargers(line: str, chosen: int | None) -> None:
    found = chosen_from(CHOICES, line)
    assert found is CHOICES[chosen] if chosen is not None else isinstance(found, str)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({}, False)],
)
def test_colours_are_for_a_terminal_that_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str], coloured: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    Screen().show([Line("Received 1 - In Range", Tone.GOOD), Line("plain")])
    assert capsys.readouterr().out.startswith("\x1b[32m") is coloured
