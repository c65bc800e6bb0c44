"""On what a server listens, by the settings: this machine, other machines, and the neighbours of a container."""

from pathlib import Path

import pytest

from adapters.listening import Listening, outside_port, read_listening
from broker.errors import InvalidSetting
from broker.launch import certificates, mosquitto
from broker.runtime.declaration import Variable
from broker.runtime.settings import Settings

PORT = Variable(name="SCAUP_TEST_PORT", default="5000", meaning="")


def read(folder: Path, **variables: str) -> Listening:
    return read_listening(Settings.load({"SCAUP_DATA_DIR": str(folder), **variables}), PORT)


@pytest.fixture(autouse=True)
def _ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "has_ipv6", lambda: True)


def test_only_this_machine_by_default(tmp_path: Path) -> None:
    found = read(tmp_path, SCAUP_TEST_PORT="5001")
    assert (found.addresses, found.port, found.outside) == (("127.0.0.1", "::1"), 5001, None)


@pytest.mark.parametrize(
    ("bind", "inside", "outside"),
    [
        ("192.0.2.7", ("127.0.0.1", "::1"), ("192.0.2.7",)),
        ("0.0.0.0", ("::1",), ("0.0.0.0",)),
        ("0.0.0.0,::", (), ("0.0.0.0", "::")),
    ],
)
def test_other_machines_get_tls(tmp_path: Path, bind: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    certificates.ensure(Settings.load({"SCAUP_DATA_DIR": str(tmp_path), "SCAUP_HOST_NAMES": "plant.example"}))
    found = read(tmp_path, SCAUP_BIND=bind)
    assert found.outside is not None
    assert (found.addresses, found.outside.addresses, found.outside.port) == (inside, outside, 5000)
    assert found.outside.context is not None
    assert found.access.refuse_host(["plant.example:5000"]) is None  # a name of the certificate


def test_without_a_certificate_nothing_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="scaup tls init"):
        read(tmp_path, SCAUP_BIND="192.0.2.7")


def test_plain_text_needs_to_be_allowed(tmp_path: Path) -> None:
    found = read(tmp_path, SCAUP_BIND="192.0.2.7", SCAUP_PLAINTEXT="yes")
    assert found.outside is not None
    assert (found.outside.context, found.outside.addresses) == (None, ("192.0.2.7",))


def test_container_has_a_port_for_each_side(tmp_path: Path) -> None:
    certificates.ensure(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    alone = read(tmp_path, SCAUP_CONTAINER="yes")
    assert (alone.addresses, alone.outside) == (("0.0.0.0",), None)
    found = read(tmp_path, SCAUP_CONTAINER="yes", SCAUP_BIND="192.0.2.7")
    assert found.outside is not None
    assert (found.addresses, found.port) == (("0.0.0.0",), 5000)
    assert (found.outside.addresses, found.outside.port) == (("0.0.0.0",), 15_000)


@pytest.mark.parametrize(("port", "expected"), [(80, 10_080), (55_535, 65_535), (55_536, 45_536), (65_535, 55_535)])
def test_port_for_other_machines_stays_a_port(port: int, expected: int) -> None:
    assert outside_port(port) == expected
