"""The checks of `scaup doctor`: each of them can fail, and then names the fix."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.client.bus import Received
from adapters.launcher.checks import Finding, Verdict, broker, client_ids, data_dir, machine, recorder, roles
from adapters.launcher.registry import components
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.roles import Role, anonymous_rights, rights
from broker.contract.storage.topics import RecorderStats
from broker.errors import BrokerUnavailable
from broker.launch import mosquitto
from broker.launch.configuration import Placement
from broker.launch.declared import write_declared
from broker.mqtt.options import Options
from broker.runtime.client_id import DONE, keep_secrets, write_note
from broker.runtime.settings import Settings
from tests.adapters.client.fakes import FakeBus, FakeSession

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
OK, WARNING, FAILED = Verdict.OK, Verdict.WARNING, Verdict.FAILED


def check(finding: Finding, verdict: Verdict, text: str = "") -> None:
    assert finding.verdict is verdict, finding
    assert text in finding.detail
    assert bool(finding.fix) is (verdict is not OK)


@pytest.mark.parametrize(("version", "verdict"), [((3, 10, 9), FAILED), ((3, 11, 0), OK), ((3, 14, 1), OK)])
def test_python(version: tuple[int, ...], verdict: Verdict) -> None:
    check(machine.python(version), verdict)


@pytest.mark.parametrize(
    ("duckdb", "verdict"),
    [("1.5.4", FAILED), ("1.5.5", OK), ("2.0.0", OK), ("3.0.0", FAILED), ("2.1.0.dev3", OK), (None, FAILED)],
)
def test_packages(duckdb: str | None, verdict: Verdict) -> None:
    check(machine.packages({"click": "8.1", "duckdb": duckdb}), verdict)


@pytest.mark.parametrize(("free_mb", "verdict"), [(499, FAILED), (500, WARNING), (1_999, WARNING), (2_000, OK)])
def test_disk(free_mb: int, verdict: Verdict) -> None:
    check(machine.disk(Path("var"), free_mb), verdict)


LOOPBACK = ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("listeners", "bind", "verdict", "text"),
    [
        ([], LOOPBACK, FAILED, "no program listens"),
        ([("127.0.0.1", "mosquitto (pid 1)"), ("::1", "mosquitto (pid 1)")], LOOPBACK, OK, "pid 1"),
        ([("0.0.0.0", "mosquitto (pid 1)")], LOOPBACK, FAILED, "open to other machines"),
        ([("127.0.0.1", "m"), ("::", "m")], LOOPBACK, FAILED, "open to other machines"),
        ([("0.0.0.0", "mosquitto (pid 1)")], ("0.0.0.0",), OK, "0.0.0.0"),
    ],
)
def test_listeners(listeners: list[tuple[str, str]], bind: tuple[str, ...], verdict: Verdict, text: str) -> None:
    check(machine.listener("SCAUP_MQTT_PORT", 1883, listeners, bind), verdict, text)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    settings = Settings.load({"SCAUP_DATA_DIR": str(tmp_path)})
    mosquitto.prepare(settings, components(), Placement())
    return tmp_path


def test_prepared_data_directory_is_ok(prepared: Path) -> None:
    for finding in data_dir.check_data_dir(prepared, components()):
        check(finding, OK)


def test_rights_of_declared_devices_are_expected(prepared: Path) -> None:
    assert write_declared(prepared, ["/readings/office/temperature"], ["zigbee2mqtt/office_trv"])
    check(data_dir.access(prepared, components()), OK)
    access = prepared / "broker" / "access"
    access.write_text(access.read_text().replace("topic read zigbee2mqtt/office_trv\n", "topic read #\n"))
    check(data_dir.access(prepared, components()), FAILED)


def test_missing_data_directory_fails(tmp_path: Path) -> None:
    (finding,) = data_dir.check_data_dir(tmp_path / "none", components())
    check(finding, FAILED, "none")


@pytest.mark.parametrize("name", ["credentials", "credentials/heating", "broker/passwords"])
def test_passwords_readable_by_others_fail(prepared: Path, name: str) -> None:
    (prepared / name).chmod(0o755)
    finding = data_dir.secrets(prepared)
    check(finding, FAILED, name)
    assert finding.fix.startswith("chmod")


def test_data_directory_writable_by_all_fails(prepared: Path) -> None:
    prepared.chmod(0o777)
    check(data_dir.directory(prepared), FAILED, "every user")


def test_changed_or_missing_files_are_found(prepared: Path) -> None:
    (prepared / "broker" / "access").write_text("topic readwrite #\n")
    check(data_dir.access(prepared, components()), FAILED)
    (prepared / "credentials" / "heating").unlink()
    check(data_dir.accounts(prepared, components()), WARNING, "heating")
    (prepared / mosquitto.CONFIGURATION).write_text("persistence false\n")
    check(data_dir.configuration(prepared), FAILED, "persistence true")
    (prepared / mosquitto.CONFIGURATION).unlink()
    check(data_dir.configuration(prepared), WARNING)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [(None, WARNING), ("mosquitto version 1.6.9", FAILED), ("mosquitto version 2.0.11", OK), ("another broker", OK)],
)
def test_broker_version(text: str | None, verdict: Verdict) -> None:
    check(broker.version(text), verdict)


@pytest.mark.parametrize(("text", "verdict"), [(None, OK), ("0", OK), ("1", WARNING), ("12000", WARNING), ("?", OK)])
def test_dropped_messages(text: str | None, verdict: Verdict) -> None:
    check(broker.dropped(text), verdict)


def session_with(**logins: FakeBus) -> FakeSession:
    session = FakeSession()
    session.logins = {None if name == "anonymous" else name: bus for name, bus in logins.items()}
    return session


@pytest.mark.parametrize(
    ("may_publish", "verdict", "text"),
    [
        (("/readings/#",), OK, "0x87"),
        (("#",), FAILED, "/actuators/scaup-doctor-probe"),
        ((), FAILED, "/readings/scaup-doctor/probe"),
    ],
)
def test_anonymous_client_may_publish_as_device_only(may_publish: tuple[str, ...], verdict: Verdict, text: str) -> None:
    check(broker.anonymous(session_with(anonymous=FakeBus(may_publish=may_publish)).login), verdict, text)


def test_answers_that_a_stranger_reads_are_found() -> None:
    stranger = FakeBus()
    login = session_with(anonymous=stranger).login
    check(broker.answers_hidden(login, lambda: None), OK)
    answer = lambda: stranger.inbox.append(Received(topic="storage/answer/operator/1", payload=b"", at=NOW))  # noqa: E731
    check(broker.answers_hidden(login, answer), FAILED, "storage/answer/operator/1")
    check(broker.answers_hidden(session_with().login, lambda: None), OK, "requires a login")


@pytest.mark.parametrize("name", ["", "office"])
def test_a_role_that_can_more_or_less_is_found(name: str) -> None:
    topics = roles.topics_tried(name or "nobody")
    wanted = roles.expected(name, rights(Role.DEVICE, name) if name else anonymous_rights(), topics)
    check(roles.judge("role", wanted, wanted, len(topics)), OK, f"of {len(topics)} topics")
    assert ("energy/answer/office/1" in wanted.reads) is bool(name)
    more = replace(wanted, reads=wanted.reads | {"storage/answer/x"})
    check(roles.judge("role", wanted, more, 9), FAILED, "it may read storage/answer/x")
    less = replace(wanted, publishes=wanted.publishes - {"/readings/office/temperature", "/readings/nobody/temperature"})
    check(roles.judge("role", wanted, less, 9), FAILED, "it may not publish to /readings/")
    check(roles.judge("role", roles.Tried(frozenset(), frozenset()), roles.Tried(topics, frozenset()), 9), FAILED, "more")


def test_broker_that_requires_a_login_is_ok() -> None:
    check(broker.anonymous(session_with().login), OK, "not possible")


@pytest.mark.parametrize(("may_publish", "verdict"), [(("storage/stats",), OK), (("scaup-doctor/#",), FAILED)])
def test_account_may_publish_its_declared_topics_only(may_publish: tuple[str, ...], verdict: Verdict) -> None:
    bus = FakeBus(may_publish=may_publish)
    check(broker.account("heating", "password", session_with(heating=bus).login), verdict)
    (probe, _) = bus.published[0]
    assert (probe.topic, probe.retain) == ("scaup-doctor/heating", False)


def test_wrong_password_fails() -> None:
    check(broker.account("heating", "password", session_with().login), FAILED, "heating")


def test_a_component_without_a_secret_id(tmp_path: Path) -> None:
    declarations = {name: components()[name] for name in ("recorder", "charger-adapter")}
    keep_secrets(tmp_path, ["recorder", "charger-adapter"])
    check(client_ids.secrets(tmp_path, declarations), WARNING, "charger-adapter-2")
    keep_secrets(tmp_path, (name for each in declarations.values() for name in each.names))
    check(client_ids.secrets(tmp_path, declarations), OK)


@pytest.mark.parametrize(
    ("present", "note", "verdict", "text"),
    [
        ((), DONE, OK, "scaup-recorder"),
        (("scaup-recorder",), DONE, FAILED, "scaup-recorder"),
        (("energy",), DONE, FAILED, "energy"),
        (("heating",), DONE, OK, ""),
        (("energy",), "recording 7", WARNING, "energy"),
        ((), None, WARNING, "recorder"),
    ],
)
def test_a_session_with_a_guessed_id(
    tmp_path: Path, present: tuple[str, ...], note: str | None, verdict: Verdict, text: str
) -> None:
    """One that is still to be taken over is not touched: a running component of an earlier release would lose it."""
    tried: list[Options] = []

    def has_session(options: Options) -> bool:
        tried.append(options)
        return options.client_id in present

    declarations = {name: components()[name] for name in ("recorder", "energy", "heating")}
    keep_secrets(tmp_path, declarations)
    for name in ("recorder", "energy") if note else ():
        write_note(tmp_path, name, note or "")
    check(client_ids.sessions(tmp_path, declarations, has_session), verdict, text)
    assert {each.client_id for each in tried} == ({"scaup-recorder", "energy"} if note == DONE else set())
    assert all(each.session_expiry_s for each in tried)


def test_a_broker_that_cannot_be_tried(tmp_path: Path) -> None:
    def has_session(_options: Options) -> bool:
        raise BrokerUnavailable("no broker")

    write_note(tmp_path, "energy", DONE)
    check(client_ids.sessions(tmp_path, {"energy": components()["energy"]}, has_session), WARNING, "no broker")


def stats(**fields: object) -> RecorderStats:
    given = {
        "at": NOW,
        "received": 10,
        "committed": 10,
        "acknowledged": 10,
        "duplicates": 0,
        "rejected": 0,
        "dropped": 0,
        "queued": 0,
        "commit_p50_s": 0.01,
        "commit_p99_s": 0.02,
        "database_bytes": 1,
        "wal_bytes": 1,
        "free_bytes": 1,
        "last_error": None,
        "warning": None,
        **fields,
    }
    return RecorderStats(**{name: given[name] for name in RecorderStats.__struct_fields__})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, OK),
        ({"at": NOW - timedelta(seconds=10)}, OK),
        ({"at": NOW - timedelta(seconds=11)}, FAILED),
        ({"received": 60_011}, WARNING),
        ({"queued": 50_001}, WARNING),
        ({"received": 30, "duplicates": 20}, OK),
        ({"last_error": "disk full"}, FAILED),
        ({"warning": "the archive is not up to date"}, WARNING),
    ],
)
def test_recorder_statistics(fields: dict[str, object], verdict: Verdict) -> None:
    check(recorder.statistics(stats(**fields), NOW), verdict)


def test_warning_of_the_clock_has_advice_of_its_own() -> None:
    moved = recorder.statistics(stats(warning="the wall clock moved 40 days, 0:00:00 back"), NOW)
    other = recorder.statistics(stats(warning="the archive is not up to date"), NOW)
    assert ("timedatectl" in moved.fix, "SCAUP_RETENTION" in moved.fix) == (True, False)
    assert "SCAUP_RETENTION" in other.fix


def test_missing_or_unreadable_statistics() -> None:
    bus = FakeBus()
    check(recorder.check_recorder(bus.kept, NOW)[0], WARNING)
    bus.retain("storage/stats", "{}")
    check(recorder.check_recorder(bus.kept, NOW)[0], FAILED)


@pytest.mark.parametrize(("ahead_s", "verdict"), [(None, OK), (-10, OK), (2, OK), (3, FAILED)])
def test_clock(ahead_s: float | None, verdict: Verdict) -> None:
    newest = None if ahead_s is None else NOW + timedelta(seconds=ahead_s)
    check(recorder.clock(newest, NOW), verdict)


def test_components() -> None:
    online = ComponentState(state=Presence.ONLINE, boot="b", version="1")
    offline = ComponentState(state=Presence.OFFLINE, boot="b", version="1")
    check(recorder.check_components(["a"], {"a": online, "b": offline})[0], OK)
    check(recorder.check_components(["a", "b"], {"a": online, "b": offline})[0], FAILED, "b")
    check(recorder.check_components(["a"], {})[0], FAILED, "a")
