"""machines list, analyze, set-status and watch on the bus."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.client.errors import ConnectionLost, Failed
from tests.adapters.cli.conftest import Scaup
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder, FakeSession

SINCE = "2026-01-01"
PNG = b"\x89PNG\r\n\x1a\n"


def reading(machine: int = 1, minute: int = 0, **changed: object) -> str:
    fields: dict[str, object] = {
        "id": machine,
        "name": "DELL G450",
        "description": "Machine for processing ",
        "temperature": 30.21,
        "fan_speed": 811.62,
        "status": "IDLE",
        "timestamp": f"2023-11-01T10:{minute:02}:00+00:00",
    }
    return json.dumps({**fields, **changed})


def record(recorder: FakeRecorder, *temperatures: object, machine: int = 1) -> None:
    for n, value in enumerate(temperatures):
        at = START_AT + timedelta(minutes=n)
        recorder.record(f"machines/{machine}/reading", reading(machine, 10 * n, temperature=value), at, at)


def analyze(scaup: Scaup, *arguments: str) -> Any:
    result = scaup("machines", "analyze", "--since", SINCE, *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_analyze_gives_the_numbers_of_the_example(scaup: Scaup, recorder: FakeRecorder) -> None:
    record(recorder, 100, 120, 90, 130, 115, 80)
    found = analyze(scaup)
    assert (found["average"], found["max"], found["min"]) == (pytest.approx(105.8333333), 130, 80)
    assert found["anomalies"] == [
        {"timestamp": "2023-11-01T10:30:00+00:00", "value": 130, "deviation": pytest.approx(24.1666667)},
        {"timestamp": "2023-11-01T10:50:00+00:00", "value": 80, "deviation": pytest.approx(25.8333333)},
    ]
    assert analyze(scaup, "--threshold", "0.3")["anomalies"] == []
    assert analyze(scaup, "--field", "fan_speed")["average"] == 811.62


def test_analyze_leaves_out_values_that_are_not_numbers(scaup: Scaup, recorder: FakeRecorder) -> None:
    record(recorder, 20, "30", True, None, 22)
    for payload in ("garbage", "[]", "7", '{"id":1}'):
        recorder.record("machines/1/reading", payload)
    result = scaup("machines", "analyze", "--since", SINCE)
    assert json.loads(result.stdout)["average"] == 21
    assert "6 of 8 readings have no number" in result.stderr


def test_a_reading_without_timestamp_has_its_plant_time(scaup: Scaup, recorder: FakeRecorder) -> None:
    recorder.record("machines/1/reading", reading(temperature=1, timestamp=7), START_AT, START_AT + timedelta(hours=1))
    recorder.record("machines/1/reading", reading(temperature=3, timestamp=None), START_AT + timedelta(seconds=1))
    stamps = [each["timestamp"] for each in analyze(scaup)["anomalies"]]
    assert stamps == ["2026-01-31T09:00:00.000000Z", "2026-01-31T08:00:01.000000Z"]


@pytest.mark.parametrize("arguments", [["7"], ["1", "--field", "pressure"], ["1", "--since", "1s"]])
def test_nothing_recorded_ends_with_1(scaup: Scaup, recorder: FakeRecorder, arguments: list[str]) -> None:
    record(recorder, 20, 21)
    result = scaup("machines", "analyze", "--since", SINCE, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--since" in result.stderr


@pytest.mark.parametrize("arguments", [["x"], ["1.5"], ["--threshold", "-0.1"], ["--threshold", "nan"], ["--threshold", "inf"]])
def test_wrong_usage_of_analyze(scaup: Scaup, recorder: FakeRecorder, arguments: list[str]) -> None:
    record(recorder, 20)
    assert scaup("machines", "analyze", *arguments).exit_code == 2


def test_analyze_draws(scaup: Scaup, recorder: FakeRecorder, tmp_path: Path) -> None:
    record(recorder, 100, 120, 90, 130, 115, 80)
    recorder.record("machines/1/reading", reading(temperature=100, timestamp="soon"))
    path = tmp_path / "series.png"
    analyze(scaup, "--png", str(path))
    assert path.read_bytes().startswith(PNG)
    refused = scaup("machines", "analyze", "--since", SINCE, "--png", str(tmp_path / "no" / "such.png"))
    assert refused.exit_code == 1
    assert "cannot write" in refused.stderr


@pytest.mark.parametrize("status", ["COMPLETED", "completed", "Completed"])
def test_a_status_is_set_in_any_case(scaup: Scaup, bus: FakeBus, status: str) -> None:
    bus.retain("machines/1/average", "{}")
    result = scaup("machines", "set-status", "1", status)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"machine": 1, "status": "COMPLETED"}
    (publication, _), *_ = bus.published
    assert (publication.topic, publication.payload, publication.retain) == (
        "machines/1/status",
        b'{"status":"COMPLETED"}',
        False,
    )


@pytest.mark.parametrize("arguments", [["1", "done"], ["1"], ["x", "IDLE"], ["", "IDLE"], ["1/2", "IDLE"], ["+", "IDLE"]])
def test_a_wrong_status_is_not_sent(scaup: Scaup, bus: FakeBus, arguments: list[str]) -> None:
    assert scaup("machines", "set-status", *arguments).exit_code == 2
    assert bus.published == []


def test_an_unknown_machine_is_reported(scaup: Scaup, recorder: FakeRecorder) -> None:
    result = scaup("machines", "set-status", "9", "IDLE")
    assert result.exit_code == 0
    assert "no reading of machine 9" in result.stderr
    record(recorder, 20, machine=9)
    assert scaup("machines", "set-status", "9", "IDLE").stderr == ""


def test_a_refusal_ends_with_4(scaup: Scaup, bus: FakeBus) -> None:
    bus.refuse = True
    assert scaup("machines", "set-status", "1", "IDLE").exit_code == 4


def test_machines_are_listed_with_their_latest(scaup: Scaup, recorder: FakeRecorder) -> None:
    for machine in (10, 2):
        record(recorder, 20, 21, machine=machine)
    at = START_AT + timedelta(minutes=5)
    recorder.record("machines/2/average", '{"average_temperature":20.5049,"average_speed":811.62,"status":"IDLE"}', at)
    recorder.record("machines/3/average", '{"average_temperature":1,"average_speed":1,"status":"IDLE"}', at)
    result = scaup("machines", "list", "--since", SINCE)
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["machine"], second["machine"]) == ("2", "10")
    assert (first["temperature"], first["average_temperature"], first["readings"]) == (21, 20.5, 2)
    assert second["average_temperature"] is None
    table = scaup("machines", "list", "--since", SINCE, "-o", "table").stdout
    assert "DELL G450" in table
    assert max(map(len, table.splitlines())) < 120


def test_no_machine_ends_with_1(scaup: Scaup) -> None:
    assert scaup("machines", "list").exit_code == 1


class _Ending(FakeBus):
    """A bus that raises Ctrl-C when no message is left; `lost` happens before that, once."""

    lost: bool = False
    connections = 0

    def connect(self, resume: bool = False) -> bool:
        self.connections += 1
        return super().connect(resume)

    def receive(self, timeout_s: float) -> Any:
        if self.inbox:
            return super().receive(timeout_s)
        if self.lost:
            self.lost = False
            raise ConnectionLost("the connection to the broker was lost")
        raise KeyboardInterrupt


def watching(scaup: Scaup, bus: FakeBus, *arguments: str) -> tuple[list[Any], str]:
    result = scaup("machines", "watch", *arguments, session=FakeSession(bus))
    assert result.exit_code == 130
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


AVERAGE = b'{"average_temperature":20.176666666666666,"average_speed":899.64,"status":"IDLE"}'


def test_watch_prints_each_averaged_reading_like_the_http_api(scaup: Scaup) -> None:
    bus = _Ending(kept={})
    bus.retain("components/moving-average/state", '{"state":"online","boot":"b","version":"1"}')
    bus.filters = {"#"}
    for topic, payload in (
        ("machines/2/average", AVERAGE),
        ("machines/1/reading", reading().encode()),
        ("machines/1/average", AVERAGE),
        ("machines/1/reading", b"garbage"),
        ("machines/1/average", b"garbage"),
        ("machines/1/average", b'{"average_temperature":1,"average_speed":null,"status":null,"left_out":{"fan_speed":5}}'),
    ):
        bus.deliver(topic, payload)
    (first, second), errors = watching(scaup, bus)
    assert list(first) == [*json.loads(reading()), "average_temperature", "average_speed"]
    assert (first["average_temperature"], first["average_speed"]) == (20.18, 899.64)
    assert (second["average_speed"], second["left_out"], second["status"]) == (None, {"fan_speed": 5}, "IDLE")
    assert errors == ""


def test_watch_of_one_machine_subscribes_to_that_one(scaup: Scaup) -> None:
    bus = _Ending()
    found, errors = watching(scaup, bus, "7")
    assert (found, bus.filters) == ([], {"machines/7/reading", "machines/7/average"})
    assert "moving average is not online" in errors


def test_watch_continues_after_a_lost_connection(scaup: Scaup) -> None:
    bus = _Ending()
    bus.lost = True
    _, errors = watching(scaup, bus)
    assert bus.connections == 1
    assert "reconnecting" in errors


def test_without_a_broker_it_ends_with_3(scaup: Scaup) -> None:
    assert scaup("machines", "watch", session=FakeSession(None)).exit_code == 3


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]
)
def test_a_series_that_cannot_be_drawn_is_an_error(tmp_path: Path, timestamp: str) -> None:
    from adapters.cli.systems.machines.analysis import draw
    from controllers.moving_average.analysis import analyze_values

    data = [(timestamp, 20.0), ("2026-01-31T08:00:00Z", 21.0)]
    with pytest.raises(Failed, match="cannot be drawn"):
        draw(tmp_path / "x.png", "machine 1", "°C", data, analyze_values(data), 0.2)
