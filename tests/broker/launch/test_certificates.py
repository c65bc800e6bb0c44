"""The authority, the listeners' certificate and those of devices; handshakes in memory."""

import re
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from broker.errors import CannotStart, InvalidSetting
from broker.launch import certificates, device_certificates, tls
from broker.launch.authority import Authority
from broker.runtime.settings import Settings

NOW = datetime.now(UTC)


def settings(folder: Path, **variables: str) -> Settings:
    return Settings.load({"SCAUP_DATA_DIR": str(folder), **variables})


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """Return the serial number of the server's certificate after a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = near.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def trusting(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / tls.AUTHORITY))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "plant.example", "192.0.2.7"])
def test_a_strict_client_trusts_every_name(tmp_path: Path, host: str) -> None:
    used = settings(tmp_path, SCAUP_BIND="192.0.2.7")
    certificates.ensure(used, ["Plant.Example"])
    handshake(tls.server_context(tls.certificate_files(used)), trusting(tmp_path), host)


def test_another_host_name_is_refused(tmp_path: Path) -> None:
    used = settings(tmp_path)
    certificates.ensure(used)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tls.server_context(tls.certificate_files(used)), trusting(tmp_path), "other.example")


def test_another_authority_is_refused(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        certificates.ensure(settings(tmp_path / name))
    context = tls.server_context(tls.certificate_files(settings(tmp_path / "ours")))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(context, trusting(tmp_path / "theirs"), "localhost")


def test_a_new_certificate_serves_without_a_restart(tmp_path: Path) -> None:
    used = settings(tmp_path)
    certificates.ensure(used)
    context, client = tls.server_context(tls.certificate_files(used)), trusting(tmp_path)
    first = handshake(context, client, "localhost")
    assert handshake(context, client, "localhost") == first
    certificates.renew(used)
    second = handshake(context, client, "localhost")
    assert second != first
    (tmp_path / tls.SERVER).write_text("damaged")
    assert handshake(context, client, "localhost") == second


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / tls.FOLDER).iterdir()}
    assert modes == {"ca.key": 0o600, "server.pem": 0o600, "ca.pem": 0o644, "revoked.pem": 0o644}


def test_making_twice_changes_nothing(tmp_path: Path) -> None:
    assert len(certificates.ensure(settings(tmp_path), ["plant.example"])) == 2
    before = (tmp_path / tls.SERVER).read_text()
    assert certificates.ensure(settings(tmp_path)) == []
    assert (tmp_path / tls.SERVER).read_text() == before


def test_a_further_name_is_kept(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path), ["a.example"])
    assert certificates.ensure(settings(tmp_path), ["b.example"]) == ["made a new certificate, now also for b.example"]
    assert {"a.example", "b.example"} <= set(certificates.renew(settings(tmp_path)).names)


def test_addresses_stay_where_a_command_lacks_them(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path, SCAUP_BIND="192.0.2.7"))
    certificates.ensure(settings(tmp_path), ["a.example"])
    assert {"192.0.2.7", "a.example"} <= set(certificates.renew(settings(tmp_path)).names)


def test_dates_are_limited(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path), now=NOW)
    server = certificates.read(tls.certificate_files(settings(tmp_path)), None)
    authority = Authority.load(tmp_path / tls.AUTHORITY, tmp_path / "tls/ca.key").certificate
    assert server.not_after - NOW == pytest.approx(timedelta(days=397), abs=timedelta(seconds=1))
    assert authority.not_valid_after_utc - NOW == pytest.approx(timedelta(days=3650), abs=timedelta(seconds=1))


@pytest.mark.parametrize(("days", "renewed"), [(366, False), (368, True), (400, True)])
def test_a_certificate_is_made_again_before_its_end(tmp_path: Path, days: int, renewed: bool) -> None:
    certificates.ensure(settings(tmp_path), now=NOW - timedelta(days=days))
    assert bool(certificates.ensure(settings(tmp_path), now=NOW)) is renewed


@pytest.mark.parametrize(
    ("days", "text"), [(366, None), (368, "ends on .* in 28 days"), (398, "ended on .* clients refuse it")]
)
def test_the_end_causes_a_warning(tmp_path: Path, days: int, text: str | None) -> None:
    certificates.ensure(settings(tmp_path), now=NOW - timedelta(days=days))
    found = certificates.complaint(settings(tmp_path), NOW)
    assert found is None if text is None else re.search(f"{text}.*scaup tls renew", found or "")


def test_without_tls_there_is_no_warning(tmp_path: Path) -> None:
    assert certificates.complaint(settings(tmp_path), NOW) is None


def own(folder: Path, now: datetime) -> Settings:
    """Return settings with a certificate of another authority."""
    pem = Authority.make("elsewhere", now).server(["plant.example"], now)
    head, _, tail = pem.partition("-----BEGIN CERTIFICATE")
    (folder / "key.pem").write_text(head)
    (folder / "chain.pem").write_text("-----BEGIN CERTIFICATE" + tail)
    return settings(folder, SCAUP_TLS_CERT=str(folder / "chain.pem"), SCAUP_TLS_KEY=str(folder / "key.pem"))


def test_an_own_certificate_is_checked_and_kept(tmp_path: Path) -> None:
    used = own(tmp_path, NOW)
    assert certificates.ensure(used) == []
    assert not (tmp_path / tls.FOLDER).exists()
    found = certificates.served(used)
    assert found is not None
    assert found.names == ("plant.example",)


@pytest.mark.parametrize(("days", "text"), [(-398, "ended on"), (3, "is valid from")])
def test_an_own_certificate_out_of_its_time_is_refused(tmp_path: Path, days: int, text: str) -> None:
    with pytest.raises(InvalidSetting, match=text):
        certificates.ensure(own(tmp_path, NOW + timedelta(days=days)))


def test_an_own_certificate_with_another_key_is_refused(tmp_path: Path) -> None:
    used = own(tmp_path, NOW)
    foreign = Authority.make("x", NOW).server(["plant.example"], NOW)
    (tmp_path / "key.pem").write_text(foreign)
    with pytest.raises(InvalidSetting, match="the key does not belong to the certificate"):
        certificates.ensure(used)


def test_no_own_certificate_where_the_path_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="No such file"):
        certificates.ensure(replace(own(tmp_path, NOW), tls_cert=str(tmp_path / "none.pem")))


@pytest.mark.parametrize(
    "name", ["https://plant.example", "plant:8883", "a b", "", "-a", "1.2.3", "a" * 64, "ä.example", "a/../b"]
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSetting, match="neither a host name nor an IP address"):
        certificates.ensure(settings(tmp_path), [name])


def test_renewal_needs_an_authority(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="scaup tls init"):
        certificates.renew(settings(tmp_path))


def test_an_authority_without_its_key_names_the_fix(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path))
    (tmp_path / "tls/ca.key").unlink()
    with pytest.raises(CannotStart, match="restore both"):
        certificates.renew(settings(tmp_path))


def revoked(folder: Path) -> set[int]:
    return {each.serial_number for each in x509.load_pem_x509_crl((folder / tls.REVOKED).read_bytes())}


def serial(pem: str) -> int:
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_new_authority_knows_no_device(tmp_path: Path) -> None:
    device_certificates.issue(tmp_path, "room-1")
    for name in ("ca.pem", "ca.key"):
        (tmp_path / "tls" / name).unlink()
    assert tls.certificate_users(tmp_path) == {}
    device_certificates.issue(tmp_path, "room-2")
    assert list(tls.certificate_users(tmp_path)) == ["room-2"]
    assert revoked(tmp_path) == set()


def test_a_damaged_authority_does_not_keep_a_device(tmp_path: Path) -> None:
    device_certificates.issue(tmp_path, "room-1")
    (tmp_path / "tls/ca.key").write_text("damaged")
    with pytest.raises(CannotStart):
        device_certificates.revoke(tmp_path, "room-1")
    assert tls.certificate_users(tmp_path) == {}


def test_the_longest_name_with_a_certificate(tmp_path: Path) -> None:
    name = "a" * device_certificates.LONGEST_ACCOUNT
    device_certificates.issue(tmp_path, name)
    assert len(tls.certificate_users(tmp_path)[name]) == 64


def test_a_device_has_one_valid_certificate(tmp_path: Path) -> None:
    first, second = (device_certificates.issue(tmp_path, "room-1") for _ in range(2))
    other = device_certificates.issue(tmp_path, "room-2")
    assert revoked(tmp_path) == {serial(first)}
    assert device_certificates.revoke(tmp_path, "room-1")
    assert revoked(tmp_path) == {serial(first), serial(second)}
    assert not device_certificates.revoke(tmp_path, "room-1")
    assert list(tls.certificate_users(tmp_path)) == ["room-2"]
    assert serial(other) not in revoked(tmp_path)


def test_every_device_certificate_has_its_own_user(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        found = x509.load_pem_x509_certificate(device_certificates.issue(tmp_path, "room-1").encode())
        names.append(found.subject.rfc4514_string())
        assert names[-1] == f"CN={tls.certificate_users(tmp_path)['room-1']}"
    assert names[0] != names[1]
    assert all(each.startswith("CN=room-1:") for each in names)
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_an_authority_that_is_not_valid_now_is_not_used(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path), now=NOW)
    for days in (-2, 3651):
        with pytest.raises(CannotStart, match="correct the clock, or else remove"):
            certificates.ensure(settings(tmp_path), now=NOW + timedelta(days=days))


def test_a_clock_that_is_not_set_makes_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="the clock says 1970-01-01"):
        certificates.ensure(settings(tmp_path), now=datetime(1970, 1, 1, tzinfo=UTC))
    assert not (tmp_path / tls.AUTHORITY).exists()


def test_the_end_of_the_authority_causes_a_warning(tmp_path: Path) -> None:
    certificates.ensure(settings(tmp_path), now=NOW)
    later = NOW + timedelta(days=3500)
    assert certificates.ensure(settings(tmp_path), now=later) != []
    assert certificates.ensure(settings(tmp_path), now=later) == []
    assert "give every client the new ca.pem" in str(certificates.complaint(settings(tmp_path), later))
    assert certificates.complaint(settings(tmp_path), NOW + timedelta(days=300)) is None
