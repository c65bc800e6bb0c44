"""What a client reports when TLS with the broker fails; handshakes in memory."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.errors import InvalidSetting
from broker.launch.authority import Authority
from broker.launch.tls import CertificateFiles, server_context
from broker.mqtt.options import Address
from broker.mqtt.tls import client_context, why_not_trusted, why_silent

NOW = datetime.now(UTC)


def failure(folder: Path, host: str, names: list[str], days: int = 0, foreign: bool = False) -> str | None:
    """Connect to a server whose certificate is for `names`, made some days from now, and return why that failed."""
    authority = Authority.make("here", NOW - timedelta(days=600))
    authority.save(folder / "ca.pem", folder / "ca.key")
    issuer = Authority.make("elsewhere", NOW) if foreign else authority
    (folder / "server.pem").write_text(issuer.server(names, NOW + timedelta(days=days)))
    server = server_context(CertificateFiles(folder / "server.pem", folder / "server.pem"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    address = Address(host=host, port=8883, ca=str(folder / "ca.pem"))
    near = client_context(str(folder / "ca.pem")).wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (near, far, near):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return why_not_trusted(error, address)
    return None


def test_a_good_certificate_is_trusted(tmp_path: Path) -> None:
    assert failure(tmp_path, "plant.example", ["plant.example"]) is None


@pytest.mark.parametrize(
    ("host", "days", "foreign", "text"),
    [
        ("plant.example", 0, True, "is not of the authority in SCAUP_MQTT_CA"),
        ("plant.example", -398, False, "has ended: renew it there"),
        ("plant.example", 2, False, "is not valid yet: compare the clocks"),
        ("other.example", 0, False, "not for the name other.example"),
        ("192.0.2.9", 0, False, "scaup tls init --name 192.0.2.9"),
    ],
)
def test_a_wrong_certificate_names_the_fix(tmp_path: Path, host: str, days: int, foreign: bool, text: str) -> None:
    assert text in str(failure(tmp_path, host, ["plant.example", "192.0.2.7"], days, foreign))


def test_a_port_without_tls_is_named(tmp_path: Path) -> None:
    Authority.make("here", NOW).save(tmp_path / "ca.pem", tmp_path / "ca.key")
    incoming = ssl.MemoryBIO()
    near = client_context(str(tmp_path / "ca.pem")).wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="plant.example")
    with pytest.raises(ssl.SSLWantReadError):
        near.do_handshake()
    incoming.write(b"\x20\x02\x00\x05 no TLS at all")
    with pytest.raises(ssl.SSLError) as caught:
        near.do_handshake()
    assert "does not speak TLS" in str(why_not_trusted(caught.value, Address(host="plant.example", port=1883, ca="ca.pem")))


def test_other_errors_are_left_alone() -> None:
    assert why_not_trusted(ConnectionRefusedError(), Address(host="h", port=1, ca="ca.pem")) is None
    assert why_not_trusted(ConnectionResetError(), Address(host="h", port=1)) is None


def test_silence_without_tls_suggests_tls() -> None:
    assert "SCAUP_MQTT_CA" in why_silent(Address(host="h", port=8883))


@pytest.mark.parametrize(("content", "text"), [(None, "cannot be read"), ("no certificate", "has no certificate")])
def test_an_authority_that_cannot_be_read(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(InvalidSetting, match=text):
        client_context(str(tmp_path / "ca.pem"))
