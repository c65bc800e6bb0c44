"""heating report and setpoint."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.output.charts import bars, text_chart
from adapters.cli.systems.heating.heating import attention, room_chart, silence
from broker.contract.heating import questions as heating_sql
from controllers.heating.modes import Alarm
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder

SINCE = "2026-01-01"


def say(recorder: FakeRecorder, minute: int, room: str = "room-1", **state: object) -> None:
    state_payload = {
        "temperature": 22.0,
        "setpoint": 22.0,
        "level": 10,
        "mode": "heating",
        "sensors_left_out": {},
        "alarms": [],
        **state,
    }
    at = START_AT + timedelta(minutes=minute)
    recorder.record(f"heating/{room}/state", json.dumps(state_payload), at, at)


def say_in_run(recorder: FakeRecorder, boot: str, wall_s: float, plant_s: float, **state: object) -> None:
    """Record a state `wall_s` after the start, in a run whose plant time is then `plant_s`."""
    state_payload = {"temperature": 22.0, "setpoint": 22.0, "level": 10, "mode": "heating", **state}
    at, event_at = START_AT + timedelta(seconds=wall_s), START_AT + timedelta(seconds=plant_s)
    recorder.record("heating/room-1/state", json.dumps(state_payload), at, event_at, boot)


def report(scaup: Scaup, *arguments: str) -> list[dict[str, Any]]:
    result = scaup("heating", "report", "--since", SINCE, *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_numbers_are_weighted_by_time(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, temperature=20.0, level=100)
    say(recorder, 30, temperature=22.0, level=40, mode="window open")
    say(recorder, 40, temperature=22.4, level=50)
    (found,) = report(scaup)
    assert found["temperature_c"] == 22.4
    assert found["mean_c"] == pytest.approx((20 * 30 + 22 * 10) / 40)
    assert found["in_band_pct"] == 25.0
    assert found["rms_k"] == pytest.approx((4 * 30 / 40) ** 0.5, abs=1e-3)
    assert (found["min_c"], found["max_c"], found["travel_pct"], found["mode_changes"]) == (20.0, 22.4, 70, 2)


@pytest.mark.parametrize(("error_k", "share"), [(0.0, 100.0), (0.5, 100.0), (-0.5, 100.0), (0.51, 0.0), (-0.51, 0.0)])
def test_the_edge_of_the_band_is_in_it(scaup: Scaup, recorder: FakeRecorder, error_k: float, share: float) -> None:
    for minute in (0, 10):
        say(recorder, minute, temperature=22.0 + error_k)
    assert report(scaup)[0]["in_band_pct"] == share


def test_a_room_without_a_trusted_sensor_has_no_temperature(scaup: Scaup, recorder: FakeRecorder) -> None:
    left_out = {"sensor-1": "stale", "sensor-2": "stuck"}
    say(recorder, 0, temperature=None, mode="safe", sensors_left_out=left_out, alarms=["no trustworthy sensor"])
    (found,) = report(scaup)
    assert (found["temperature_c"], found["mean_c"], found["in_band_pct"]) == (None, None, None)
    assert (found["left_out"], found["alarms"]) == (left_out, ["no trustworthy sensor"])


def test_a_gap_is_not_counted_as_hours_of_comfort(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, temperature=22.0)
    say(recorder, 24 * 60, temperature=20.0)
    say(recorder, 25 * 60, temperature=20.0)
    assert report(scaup)[0]["in_band_pct"] == 50.0


def test_two_runs_that_overlap_in_plant_time_are_not_mixed(scaup: Scaup, recorder: FakeRecorder) -> None:
    # At scale 60: the first run is 30 plant minutes long when, after 40 s, the second begins at a plant time of 40 s.
    say_in_run(recorder, "first", 0, 0, temperature=20.0, level=100)
    say_in_run(recorder, "first", 10, 600, temperature=21.0, level=80)
    say_in_run(recorder, "first", 30, 1800, temperature=22.0, level=20, mode="safe")
    say_in_run(recorder, "second", 41, 100, temperature=23.0, level=0)
    say_in_run(recorder, "second", 51, 700, temperature=22.0, level=10)
    say_in_run(recorder, "second", 61, 1300, temperature=22.0, level=15)
    (found,) = report(scaup)
    counted_s = 1800 + 1200
    assert found["in_band_pct"] == round(100 * 600 / counted_s, 1)
    assert found["mean_c"] == pytest.approx((20 * 600 + 21 * 1200 + 23 * 600 + 22 * 600) / counted_s, abs=0.01)
    assert found["rms_k"] == pytest.approx(((4 * 600 + 1 * 1200 + 1 * 600) / counted_s) ** 0.5, abs=1e-3)
    assert (found["travel_pct"], found["mode_changes"]) == (20 + 60 + 10 + 5, 1)
    assert found["plant_h"] == pytest.approx(counted_s / 3600, abs=1e-3)
    now = (found["temperature_c"], found["level_pct"], found["mode"])
    assert now == (22.0, 15, "heating"), "the second run, though the first was later in plant time"


def test_a_chart_shows_two_runs_one_after_the_other(recorder: FakeRecorder) -> None:
    for wall_s, plant_s, celsius in ((0, 0, 18.0), (10, 600, 19.0)):
        say_in_run(recorder, "first", wall_s, plant_s, temperature=celsius)
    for wall_s, plant_s, celsius in ((20, 20, 20.0), (30, 620, 21.0)):
        say_in_run(recorder, "second", wall_s, plant_s, temperature=celsius)
    statement = heating_sql.series("room-1", START_AT, points=4)
    rows = recorder.database.execute(statement.sql, statement.parameters).fetchall()
    assert [(row[-1], row[1]) for row in rows] == [(0, 18.0), (1, 19.0), (2, 20.0), (3, 21.0)]


def test_invalid_state_messages_are_left_out(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0)
    recorder.record("heating/room-1/state", "not json", START_AT + timedelta(minutes=1))
    recorder.record("heating/room-1/state", '"text"', START_AT + timedelta(minutes=2))
    recorder.record("heating/room-1/state", '{"temperature":"warm"}', START_AT + timedelta(minutes=3))
    assert report(scaup)[0]["mean_c"] == 22.0


def test_one_room_or_all(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, "room-1")
    say(recorder, 0, "room-2")
    assert [each["room"] for each in report(scaup)] == ["room-1", "room-2"]
    assert [each["room"] for each in report(scaup, "room-2")] == ["room-2"]


def test_nothing_recorded_is_reported(scaup: Scaup) -> None:
    result = scaup("heating", "report", "room-9")
    assert result.exit_code == 1
    assert "no state of room-9" in result.stderr


def test_a_table_for_people(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, sensors_left_out={"sensor-3": "stuck"})
    result = scaup("heating", "report", "--since", SINCE, "-o", "table")
    assert "sensor-3 stuck" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 110


@pytest.mark.parametrize(
    ("state", "minutes", "words"),
    [
        ({"level": 100, "temperature": 21.4}, 180, ["not enough power: valve at 100 % for 3 h"]),
        ({"level": 100, "temperature": 21.4}, 60, []),
        ({"level": 100, "temperature": 21.6}, 180, []),
        ({"level": 0, "temperature": 22.6}, 60, ["too warm with a closed valve for 60 min"]),
        ({"mode": "window open", "level": 0}, 20, ["window: valve closed for 20 min"]),
        ({"mode": "safe", "temperature": None}, 600, ["sensors: none to be trusted for 10 h"]),
        ({"alarms": [Alarm.NO_HEAT]}, 180, ["heat source: no heat arrived for 3 h"]),
        ({"alarms": [Alarm.OSCILLATION]}, 180, ["oscillation: backed off for 3 h"]),
        ({"identified": {"transport_s": 1080.0}}, 180, ["late answer: 18 min of dead time"]),
        ({"identified": {"transport_s": 1080.0}}, 60, []),
        ({"identified": {"transport_s": 240.0}}, 10, []),
        ({"identified": None}, 10, []),
    ],
)
def test_what_limits_a_room_is_named(
    scaup: Scaup, recorder: FakeRecorder, state: dict[str, Any], minutes: int, words: list[str]
) -> None:
    for minute in range(0, minutes + 1, 10):
        say(recorder, minute, **state)
    assert report(scaup)[0]["limits"] == words


def test_the_cause_that_lasted_longest_comes_first(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, mode="window open")
    say(recorder, 10, level=0, temperature=23.0)
    for minute in range(40, 160, 10):
        say(recorder, minute, mode="heating", identified={"transport_s": 900.0})
    (found,) = report(scaup)
    assert [words.split(" ")[0] for words in found["limits"]] == ["too", "window:", "late"]


def test_the_table_fits_80_columns_with_its_remarks(scaup: Scaup, recorder: FakeRecorder) -> None:
    left_out = {f"sensor-{number}": "far from the others" for number in range(4)}
    for minute in range(0, 200, 10):
        say(recorder, minute, mode="window open", level=100, temperature=20.25, sensors_left_out=left_out)
        say(recorder, minute, room="room-2", temperature=22.125)
    lines = scaup("heating", "report", "--since", SINCE, "-o", "table").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    remarks = " ".join(map(str.strip, lines))
    assert "not enough power: valve at 100 % for 3 h, window: valve closed for 3 h" in remarks
    assert "sensor-3 far from the others" in remarks


@pytest.mark.parametrize("celsius", ["5", "22.5", "35"])
def test_setpoint_is_retained_and_shows_old_and_new(scaup: Scaup, bus: FakeBus, celsius: str) -> None:
    bus.retain("heating/room-1/setpoint", '{"celsius":21.0}')
    bus.retain("heating/room-1/state", '{"level":1,"setpoint":21.0,"mode":"heating"}')
    result = scaup("heating", "setpoint", "room-1", celsius)
    assert json.loads(result.stdout) == {"room": "room-1", "old_c": 21.0, "new_c": float(celsius)}
    assert result.stderr == ""
    (publication, _), *_ = bus.published
    assert (publication.topic, publication.retain, publication.qos) == ("heating/room-1/setpoint", True, 1)
    assert json.loads(publication.payload) == {"celsius": float(celsius)}


@pytest.mark.parametrize("celsius", ["4.99", "35.01", "nan", "inf", "-inf", "warm", ""])
def test_a_setpoint_out_of_range_is_wrong_usage(scaup: Scaup, bus: FakeBus, celsius: str) -> None:
    assert scaup("heating", "setpoint", "room-1", "--", celsius).exit_code == 2
    assert bus.published == []


@pytest.mark.parametrize("room", ["a/b", "a+", "#", ""])
def test_a_room_is_one_level(scaup: Scaup, bus: FakeBus, room: str) -> None:
    assert scaup("heating", "setpoint", room, "22").exit_code == 2
    assert bus.published == []


def test_the_old_setpoint_falls_back_to_the_controllers_state(scaup: Scaup, bus: FakeBus) -> None:
    bus.retain("heating/room-1/state", '{"level":1,"setpoint":22.0,"mode":"heating"}')
    assert json.loads(scaup("heating", "setpoint", "room-1", "20").stdout)["old_c"] == 22.0


def test_an_unknown_room_is_set_with_a_warning(scaup: Scaup) -> None:
    result = scaup("heating", "setpoint", "attic", "20")
    assert (result.exit_code, json.loads(result.stdout)["old_c"]) == (0, None)
    assert "attic" in result.stderr


def test_a_refusal_ends_with_4(scaup: Scaup, bus: FakeBus) -> None:
    bus.refuse = True
    result = scaup("heating", "setpoint", "room-1", "20")
    assert result.exit_code == 4
    assert (result.stdout, "0x87" in result.stderr) == ("", True)


def test_a_chart_has_its_scale_and_its_setpoint() -> None:
    drawn = text_chart([20.0, 21.0, 22.0, None], [22.0] * 4, height=3)
    assert drawn == [" 22.00 │──◆─", " 21.00 │ •", " 20.00 │•"]


@pytest.mark.parametrize("values", [[], [None, None]])
def test_a_chart_without_values_is_empty(values: list[float | None]) -> None:
    assert text_chart(values, [None] * len(values)) == []


def test_a_flat_line_is_in_the_middle() -> None:
    assert [line.split("│")[1] for line in text_chart([22.0], [22.0], height=3)] == ["", "◆", ""]


def test_bars() -> None:
    assert bars([0, 50, 100, None, 120, -5]).split("│")[1] == " ▄█ █ "


def test_a_chart_of_a_room_has_the_given_width() -> None:
    lines = room_chart(30, [{"point": n, "celsius": 20 + n, "setpoint": 22.0, "level": n} for n in (0, 5, 29)])
    assert len(lines) == 9
    assert max(map(len, lines)) == 30 + 8


@pytest.mark.parametrize(
    ("left_out", "alarms", "expected"),
    [(None, None, ""), ({}, [], ""), ({"s": "stale"}, ["cold"], "s stale, cold"), ("x", "y", "")],
)
def test_attention_lists_sensors_and_alarms(left_out: object, alarms: object, expected: str) -> None:
    assert attention(left_out, alarms) == expected


def test_unknown_time_is_not_out_of_band(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0, temperature=22.0)
    say(recorder, 25, temperature=None, mode="holding", alarms=["no trustworthy sensor"])
    say(recorder, 60, temperature=None, mode="safe", alarms=["no trustworthy sensor"])
    say(recorder, 100, temperature=None, mode="safe", alarms=["no trustworthy sensor"])
    (found,) = report(scaup)
    assert (found["in_band_pct"], found["known_pct"], found["mean_c"]) == (100.0, 25.0, 22.0)
    assert found["temperature_c"] is None, "22 °C is not the present temperature"


def test_the_age_of_the_last_state_is_shown(scaup: Scaup, recorder: FakeRecorder) -> None:
    say(recorder, 0)
    assert int(str(report(scaup)[0]["age_s"])) >= 0
    assert [silence(each) for each in (0.0, 299.0, 600.0, 7200.0)] == ["", "", "last state 10 min ago", "last state 2 h ago"]


def test_a_report_is_drawn_as_png(scaup: Scaup, recorder: FakeRecorder, tmp_path: Path) -> None:
    for minute in range(30):
        say(recorder, minute, temperature=None if 10 < minute < 20 else 20.0 + minute / 20)
        say(recorder, minute, "room-2")
    for arguments in (("room-1",), ()):
        png = tmp_path / f"{len(arguments)}.png"
        result = scaup("heating", "report", *arguments, "--since", SINCE, "--png", str(png))
        assert result.exit_code == 0, result.stderr
        assert png.read_bytes().startswith(b"\x89PNG")
        assert f"drawn: {png}" in result.stderr
