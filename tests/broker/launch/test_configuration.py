"""Which listeners the broker has on which addresses, and who may use them."""

from pathlib import Path

import pytest

from broker.launch import mosquitto
from broker.launch.configuration import Placement, render
from broker.launch.tls import CertificateFiles, Reach
from broker.runtime.settings import ROOT, Settings

ROOT_FILE = (ROOT / "mosquitto.conf").read_text()
PORTS = {
    "SCAUP_MQTT_PORT": "1",
    "SCAUP_MQTT_TLS_PORT": "2",
    "SCAUP_MQTT_CERTIFICATE_PORT": "3",
    "SCAUP_MQTT_WS_PORT": "4",
}
LOOPBACK = ("127.0.0.1", "::1")


def placed(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Placement:
    monkeypatch.setattr(mosquitto, "has_ipv6", lambda: True)
    settings = Settings.load(PORTS | variables)
    return mosquitto.placement(settings, tls=variables.get("SCAUP_PLAINTEXT") != "yes", certificates=True)


def listeners(placement: Placement) -> dict[tuple[str, str], set[str]]:
    """Return, by port and address, what a listener has: TLS, a login, a certificate."""
    found = {}
    for block in render(ROOT_FILE, placement).split("\n\n")[1:]:
        first, *options = block.splitlines()
        port, address = (*first.split()[1:], "")[:2]
        domain = {"socket_domain ipv4": "0.0.0.0", "socket_domain ipv6": "::"}
        address = address or next(domain[each] for each in options if each in domain)
        has = {"tls": "keyfile tls/server.pem", "login": "allow_anonymous false", "certificate": "require_certificate true"}
        found[port, address] = {name for name, line in has.items() if line in options}
    return found


def test_tls_on_loopback_is_beside_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    expected: dict[tuple[str, str], set[str]] = {}
    for each in LOOPBACK:
        expected |= {("1", each): set(), ("2", each): {"tls", "login"}, ("4", each): {"login"}}
        expected |= {("3", each): {"tls", "login", "certificate"}}
    assert listeners(placed(monkeypatch)) == expected


def test_another_address_has_only_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    found = listeners(placed(monkeypatch, SCAUP_BIND="192.0.2.7"))
    assert {place: has for place, has in found.items() if place[1] == "192.0.2.7"} == {
        ("2", "192.0.2.7"): {"tls", "login"},
        ("3", "192.0.2.7"): {"tls", "login", "certificate"},
        ("4", "192.0.2.7"): {"tls", "login"},
    }
    assert (found["1", "127.0.0.1"], found["4", "127.0.0.1"]) == (set(), {"login"})


def test_no_port_is_opened_on_a_wildcard_and_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = listeners(placed(monkeypatch, SCAUP_BIND="0.0.0.0"))
    assert sorted(address for port, address in found if port == "1") == list(LOOPBACK)
    for port in "234":
        assert sorted(address for each, address in found if each == port) == ["0.0.0.0", "::1"]
    assert found["4", "0.0.0.0"] == {"tls", "login"}
    assert found["4", "::1"] == {"login"}


@pytest.mark.parametrize("bind", ["192.0.2.7", "0.0.0.0"])
def test_plain_text_that_is_allowed_needs_a_login(monkeypatch: pytest.MonkeyPatch, bind: str) -> None:
    found = listeners(placed(monkeypatch, SCAUP_BIND=bind, SCAUP_PLAINTEXT="yes"))
    assert found["1", bind] == found["4", bind] == {"login"}
    assert all(has == {"login"} for has in found.values())


def test_plain_text_is_not_opened_by_the_setting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listeners(placed(monkeypatch, SCAUP_PLAINTEXT="yes"))["1", "127.0.0.1"] == set()


def test_a_listener_for_certificates_asks_for_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = render(ROOT_FILE, placed(monkeypatch)).split("\n\n")
    block = next(each for each in blocks if each.startswith("listener 3 ")).splitlines()
    assert "use_identity_as_username true" in block
    assert "crlfile tls/revoked.pem" in block
    assert "acl_file broker/access" in block
    assert not any(each.startswith("password_file") for each in block)


def test_a_certificate_of_ones_own_replaces_the_made_one() -> None:
    files = CertificateFiles(Path("/etc/chain.pem"), Path("/etc/key.pem"))
    text = render(ROOT_FILE, Placement(tls_port=2, certificate_port=3, certificate=files))
    assert text.count("certfile /etc/chain.pem\nkeyfile /etc/key.pem") == 2
    assert "cafile tls/ca.pem" in text
    assert "server.pem" not in text


def test_a_listener_of_the_user_needs_a_login_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{ROOT_FILE}\nlistener 7883\n"
    inside, outside = (render(text, placed(monkeypatch, SCAUP_BIND=each)) for each in ("", "192.0.2.7"))
    assert "allow_anonymous true" in inside.partition("listener 7883")[2]
    assert "allow_anonymous true" not in outside.partition("listener 7883")[2]
    assert "listener 7883 192.0.2.7" in outside


@pytest.mark.parametrize(("files", "most"), [(None, 8000), (65_536, 8000), (4_096, 1_920), (1_024, 384), (100, 1)])
def test_full_listeners_leave_the_broker_files_to_open(files: int | None, most: int) -> None:
    text = "listener 1883\nmax_connections 8000\n"
    places = Reach(loopback=("127.0.0.1", "::1"), outside=())
    rendered = render(text, Placement(reach=places, files=files))
    assert rendered.count(f"max_connections {most}\n") == 2
    assert rendered.count("max_connections") == 2
