import re
from pathlib import Path

import pytest

from broker.errors import InvalidSetting
from broker.launch import mosquitto, tls
from broker.launch.configuration import Placement, render
from broker.launch.tls import Reach
from broker.runtime.declaration import Declaration
from broker.runtime.settings import ROOT, Settings, read_password

ROOT_FILE = (ROOT / "mosquitto.conf").read_text()
SMALL = """\
# a comment
allow_anonymous true
acl_file broker/access

listener 1883
max_connections 5

# another
listener 9001
protocol websockets
"""
HEATING = Declaration(name="heating", summary="heats")
OPERATOR = Declaration(name="operator", summary="asks")


def listeners(text: str) -> list[list[str]]:
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block[0].startswith("listener")]


def test_native_configuration_has_a_listener_per_address() -> None:
    text = render(SMALL, Placement(mqtt_port=21883, reach=Reach(("127.0.0.1", "::1"), ())))
    assert listeners(text) == [
        ["listener 21883 127.0.0.1", "max_connections 5", "socket_domain ipv4"],
        ["listener 21883 ::1", "max_connections 5", "socket_domain ipv6"],
    ]


def test_websockets_are_off_by_default() -> None:
    assert Settings.load({}).mqtt_ws_port is None
    text = render(ROOT_FILE, Placement())
    assert "websockets" not in text
    assert "per_listener_settings" not in text


def test_websockets_listener_is_never_anonymous() -> None:
    text = render(SMALL, Placement(ws_port=29001, origins=("https://plant.example",), reach=Reach(("127.0.0.1",), ())))
    assert text.splitlines()[1:3] == ["per_listener_settings true", ""]
    mqtt = ["max_connections 5", "allow_anonymous true", "acl_file broker/access"]
    browsers = ["protocol websockets", "allow_anonymous false", "acl_file broker/access"]
    assert listeners(text) == [
        ["listener 1883 127.0.0.1", *mqtt, "socket_domain ipv4"],
        ["listener 29001 127.0.0.1", *browsers, "socket_domain ipv4"],
    ]


def test_origins_are_listed_for_a_broker_that_checks_them() -> None:
    text = render(SMALL, Placement(ws_port=29001, origins=("https://a.example", "https://b.example"), checks_origins=True))
    found = [line for block in listeners(text) for line in block if "origin" in line]
    assert found == ["websockets_origin https://a.example", "websockets_origin https://b.example"]


def test_configuration_for_a_container_listens_everywhere() -> None:
    text = render(SMALL, Placement())
    assert listeners(text) == [["listener 1883", "max_connections 5"]]


def test_listener_of_another_port_keeps_it() -> None:
    text = render("listener 7883\ncertfile c.pem\n", Placement(mqtt_port=21883, reach=Reach(("127.0.0.1",), ())))
    assert listeners(text) == [["listener 7883 127.0.0.1", "certfile c.pem", "socket_domain ipv4"]]


@pytest.mark.parametrize("anonymous", [True, False])
def test_anonymous_access(anonymous: bool) -> None:
    text = render(SMALL, Placement(anonymous=anonymous))
    assert re.findall(r"^allow_anonymous (\w+)$", text, re.MULTILINE) == ["true" if anonymous else "false"]


def test_a_broker_started_by_root_stays_root() -> None:
    common = render(SMALL, Placement(user="root")).split("\nlistener")[0]
    assert "user root" in common
    assert "user" not in render(SMALL, Placement())


def test_the_root_file_has_every_setting_that_bounds_loss() -> None:
    text = render(ROOT_FILE, Placement())
    for line in (
        "persistence true",
        "autosave_interval 2",
        "autosave_on_changes false",
        "max_queued_messages 10000000",
        "max_queued_bytes 536870912",
        "max_inflight_messages 20000",
        "message_size_limit 67108864",
        "acl_file broker/access",
        "password_file broker/passwords",
    ):
        assert f"\n{line}\n" in text


def test_every_setting_has_its_reason_above_it() -> None:
    blocks = [block.splitlines() for block in ROOT_FILE.split("\n\n")]
    assert all(block[0].startswith("#") for block in blocks if block != [""])


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ((), ("127.0.0.1", "::1")),
        (("127.0.0.1", "::1"), ("127.0.0.1", "::1")),
        (("127.0.0.1",), ("127.0.0.1", "::1")),
        (("localhost",), ("127.0.0.1", "::1")),
        (("[::1]",), ("::1", "127.0.0.1")),
        (("192.0.2.7",), ("192.0.2.7", "127.0.0.1", "::1")),
        (("0.0.0.0",), ("0.0.0.0", "::1")),
        (("::",), ("::", "127.0.0.1")),
        (("0.0.0.0", "::"), ("0.0.0.0", "::")),
    ],
)
def test_addresses_always_include_loopback_without_overlap(bind: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert mosquitto.addresses(bind, ipv6=True) == expected


def test_addresses_without_ipv6() -> None:
    assert mosquitto.addresses((), ipv6=False) == ("127.0.0.1",)


@pytest.mark.parametrize("bind", ["eth0", "127.0.0", "300.0.0.1", ""])
def test_invalid_address_is_an_error(bind: str) -> None:
    with pytest.raises(InvalidSetting, match="SCAUP_BIND"):
        mosquitto.addresses((bind,), ipv6=True)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        (("127.0.0.1", "::1"), True),
        (("127.8.8.8",), True),
        (("localhost",), True),
        (("0.0.0.0",), False),
        (("127.0.0.1", "192.0.2.7"), False),
        (("::",), False),
    ],
)
def test_only_loopback(bind: tuple[str, ...], expected: bool) -> None:
    assert tls.only_loopback(bind) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mosquitto version 2.0.11\n\nmosquitto is an MQTT v5.0 broker.", (2, 0, 11)),
        ("mosquitto version 1.6.12 (build date …)", (1, 6, 12)),
        ("mosquitto version 2.1", (2, 1)),
        ("something else", ()),
    ],
)
def test_version(text: str, expected: tuple[int, ...]) -> None:
    assert mosquitto.version(text) == expected


def fake_mosquitto(folder: Path, release: str) -> None:
    program = folder / "mosquitto"
    program.write_text(f"#!/bin/sh\necho 'mosquitto version {release}'\nexit 3\n")
    program.chmod(0o755)


@pytest.mark.integration
@pytest.mark.parametrize(("release", "usable"), [("1.6.12", False), ("2.0.0", True), ("2.1.2", True), ("unknown", False)])
def test_a_too_old_broker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, usable: bool) -> None:
    fake_mosquitto(tmp_path, release)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if usable:
        assert mosquitto.require() == tmp_path / "mosquitto"
    else:
        with pytest.raises(mosquitto.BrokerUnusable, match=r"2\.0 or newer"):
            mosquitto.require()


def test_a_missing_broker_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mosquitto, "_SYSTEM_FOLDERS", ())
    with pytest.raises(mosquitto.BrokerUnusable, match="not installed"):
        mosquitto.require()


def prepared(data_dir: Path, *declarations: Declaration, placement: Placement = Placement()) -> bool:  # noqa: B008
    settings = Settings.load({"SCAUP_DATA_DIR": str(data_dir)})
    return mosquitto.prepare(settings, {each.name: each for each in declarations}, placement)


def test_prepare_writes_private_files_once(tmp_path: Path) -> None:
    assert prepared(tmp_path, HEATING, OPERATOR)
    files = [tmp_path / "broker" / name for name in ("access", "passwords", "mosquitto.conf")]
    before = [path.read_bytes() for path in files]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert not prepared(tmp_path, HEATING, OPERATOR)
    assert [path.read_bytes() for path in files] == before


def test_prepare_adds_a_new_component(tmp_path: Path) -> None:
    prepared(tmp_path, OPERATOR)
    password = read_password(tmp_path, "operator")
    assert prepared(tmp_path, HEATING, OPERATOR)
    assert "heating:$7$" in (tmp_path / "broker" / "passwords").read_text()
    assert read_password(tmp_path, "operator") == password


def test_prepare_notices_a_changed_password(tmp_path: Path) -> None:
    prepared(tmp_path, OPERATOR)
    (tmp_path / "credentials" / "operator").write_text("another\n")
    assert prepared(tmp_path, OPERATOR)
    assert not prepared(tmp_path, OPERATOR)


def test_devices_get_an_account_without_anonymous_access(tmp_path: Path) -> None:
    prepared(tmp_path, OPERATOR)
    assert read_password(tmp_path, "device") is None
    prepared(tmp_path, OPERATOR, placement=Placement(anonymous=False))
    assert read_password(tmp_path, "device")
    rules = (tmp_path / "broker" / "access").read_text()
    assert rules.split("user device\n")[1].count("topic write /readings/#") == 1
