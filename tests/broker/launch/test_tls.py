"""Which addresses speak TLS, and where the certificate is."""

from pathlib import Path

import pytest

from broker.errors import InvalidSetting
from broker.launch import tls
from broker.runtime.settings import Settings


@pytest.mark.parametrize(
    ("bind", "loopback", "outside"),
    [
        ((), ("127.0.0.1", "::1"), ()),
        (("localhost",), ("127.0.0.1", "::1"), ()),
        (("127.0.0.5",), ("127.0.0.5", "127.0.0.1", "::1"), ()),
        (("192.0.2.7",), ("127.0.0.1", "::1"), ("192.0.2.7",)),
        (("127.0.0.1", "192.0.2.7", "[2001:db8::7]"), ("127.0.0.1", "::1"), ("192.0.2.7", "2001:db8::7")),
        (("0.0.0.0", "192.0.2.7"), ("127.0.0.1", "::1"), ("0.0.0.0",)),
        (("0.0.0.0", "::"), ("127.0.0.1", "::1"), ("0.0.0.0", "::")),
    ],
)
def test_loopback_is_apart_from_outside(bind: tuple[str, ...], loopback: tuple[str, ...], outside: tuple[str, ...]) -> None:
    assert tls.reach(bind, ipv6=True) == tls.Reach(loopback, outside)


def test_ipv6_is_left_out_where_there_is_none() -> None:
    assert tls.reach(("::", "192.0.2.7"), ipv6=False) == tls.Reach(("127.0.0.1",), ("192.0.2.7",))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"SCAUP_BIND": "0.0.0.0"}, True),
        ({"SCAUP_BIND": "0.0.0.0", "SCAUP_PLAINTEXT": "no"}, True),
        ({"SCAUP_BIND": "0.0.0.0", "SCAUP_PLAINTEXT": "yes"}, False),
    ],
)
def test_plain_text_beyond_loopback_is_a_choice(variables: dict[str, str], expected: bool) -> None:
    assert tls.wants_tls(Settings.load(variables)) is expected


def test_a_made_certificate_is_one_file_with_its_key(tmp_path: Path) -> None:
    files = tls.certificate_files(Settings.load({"SCAUP_DATA_DIR": str(tmp_path)}))
    assert files == tls.CertificateFiles(tmp_path / "tls/server.pem", tmp_path / "tls/server.pem", made=True)


def test_an_own_certificate_is_taken() -> None:
    files = tls.certificate_files(Settings.load({"SCAUP_TLS_CERT": "/a/chain.pem", "SCAUP_TLS_KEY": "/a/key.pem"}))
    assert files == tls.CertificateFiles(Path("/a/chain.pem"), Path("/a/key.pem"))


@pytest.mark.parametrize("name", ["SCAUP_TLS_CERT", "SCAUP_TLS_KEY"])
def test_a_certificate_without_its_key_is_an_error(name: str) -> None:
    with pytest.raises(InvalidSetting, match="set both, or neither"):
        tls.certificate_files(Settings.load({name: "/a/b.pem"}))


def test_a_missing_certificate_names_the_command(tmp_path: Path) -> None:
    missing = tmp_path / "server.pem"
    with pytest.raises(InvalidSetting, match="scaup tls init"):
        tls.server_context(tls.CertificateFiles(missing, missing, made=True))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no certificate\n", "they are no PEM files with a certificate and its key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "the key is encrypted"),
    ],
)
def test_a_damaged_own_certificate_names_the_variables(tmp_path: Path, text: str, why: str) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidSetting, match=f"{why}: correct SCAUP_TLS_CERT and SCAUP_TLS_KEY"):
        tls.server_context(tls.CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem"))
