"""The native runtime: its programs and the supervisor's configuration."""

import configparser
import shlex
from pathlib import Path

import pytest

from adapters.client.declaration import OPERATOR
from adapters.launcher.native import Native
from adapters.launcher.registry import components
from adapters.launcher.supervision import AUTOSTART, LONGEST_SOCKET_PATH, Place, Program, configuration
from broker.errors import NOT_ALLOWED_EXIT, TAKEN_OVER_EXIT
from broker.runtime.settings import ROOT, Settings


def native(data_dir: Path, **more: str) -> Native:
    settings = Settings.load({"SCAUP_DATA_DIR": str(data_dir)} | more)
    return Native(settings=settings, declarations={OPERATOR.name: OPERATOR}, components=tuple(components()))


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_programs_are_broker_components_and_guardian(tmp_path: Path) -> None:
    programs = native(tmp_path).programs()
    assert [each.name for each in programs] == ["broker", *components(), "guardian"]
    assert {each.name: each.group for each in programs if each.name in ("broker", "recorder", "guardian")}.items() <= {
        "broker": "broker",
        "recorder": "recorder",
        "guardian": "guardian",
    }.items()


def test_components_run_as_modules_from_the_root(tmp_path: Path) -> None:
    for program in native(tmp_path).programs():
        if program.group == "components":
            assert program.command[1] == "-m"
            assert program.directory == ROOT


@pytest.mark.parametrize(("host", "ours"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("plant.example", False)])
def test_remote_broker_is_not_started(tmp_path: Path, host: str, ours: bool) -> None:
    names = [each.name for each in native(tmp_path, SCAUP_MQTT_HOST=host).programs()]
    assert ("broker" in names) is ours


def test_address_of_scaup_bind_is_this_machine(tmp_path: Path) -> None:
    programs = native(tmp_path, SCAUP_MQTT_HOST="192.0.2.7", SCAUP_BIND="192.0.2.7").programs()
    assert programs[0].name == "broker"


def test_supervisor_stops_components_recorder_broker_in_order(tmp_path: Path) -> None:
    made = native(tmp_path)
    text = parsed(configuration(made.place, made.programs(), {}))
    priority = {name: text.getint(f"group:{name}", "priority") for name in ("broker", "recorder", "guardian")}
    assert priority["broker"] < priority["recorder"] < text.getint("group:components", "priority") < priority["guardian"]


def test_programs_restart_unless_taken_over_with_bounded_logs(tmp_path: Path) -> None:
    made = native(tmp_path)
    text = parsed(configuration(made.place, made.programs(), {}))
    for program in made.programs():
        section = f"program:{program.name}"
        assert text.get(section, "autorestart") == "unexpected"
        assert text.get(section, "exitcodes") == f"{TAKEN_OVER_EXIT},{NOT_ALLOWED_EXIT}"
        assert text.getint(section, "startretries") >= 1000
        assert text.get(section, "stdout_logfile") == str(tmp_path / "logs" / f"{program.name}.log")
        assert text.get(section, "stdout_logfile_maxbytes") == "5MB"
        assert text.getint(section, "stdout_logfile_backups") == 3


def test_only_broker_and_guardian_start_by_themselves(tmp_path: Path) -> None:
    made = native(tmp_path)
    text = parsed(configuration(made.place, made.programs(), {}))
    waiting = {each.name for each in made.programs() if text.get(f"program:{each.name}", "autostart") != "true"}
    assert waiting == set(components())
    assert all(text.get(f"program:{name}", "autostart") == f"%(ENV_{AUTOSTART})s" for name in waiting)


def test_special_characters_in_paths_and_values() -> None:
    place = Place(data_dir=Path("/tmp/50% of it"))
    program = Program(name="x", command=("/a b/python", "-m", "x%y"), directory=Path("/c d"), group="components")
    text = configuration(place, [program], {"SCAUP_X": 'with "quotes" and 10%'})
    command = parsed(text).get("program:x", "command").replace("%%", "%")
    assert shlex.split(command) == ["/a b/python", "-m", "x%y"]
    assert parsed(text).get("supervisord", "pidfile").replace("%%", "%") == "/tmp/50% of it/supervisord.pid"
    assert "10%%" in parsed(text).get("supervisord", "environment")


def test_control_socket_moves_where_its_path_is_too_long(tmp_path: Path) -> None:
    assert Place(data_dir=Path("/srv/scaup")).socket == Path("/srv/scaup/supervisor.sock")
    deep = Place(data_dir=tmp_path / ("deep" * 30))
    assert len(str(deep.socket)) <= LONGEST_SOCKET_PATH
    assert deep.socket != Place(data_dir=tmp_path / ("deep" * 31)).socket


def test_logs_are_shown_from_their_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = native(tmp_path)
    made.place.logs.mkdir()
    (made.place.logs / "heating.log").write_text("".join(f"line {number}\n" for number in range(100)))
    made.logs("heating", lines=2, follow=False)
    assert capsys.readouterr().out == "line 98\nline 99\n"
