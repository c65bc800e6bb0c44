"""A certificate authority of one installation: it signs the certificate of this machine's listeners, and those of devices.

Keys are EC P-256, which every TLS 1.2 library that devices use knows; the server's part of a handshake costs little, also when
all clients reconnect at once. All certificates have what strict clients demand (RFC 5280): key usage, and identifiers of both
keys. A server's certificate is valid for 397 days, the longest that every client accepts. The authority and the certificates
of devices are valid for ten years: a new authority has to reach every client by hand, and a device loses its rights when its
account is removed.
"""

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from broker.errors import CannotStart
from broker.launch.credentials import write_private

AUTHORITY_DAYS = 3_650
DEVICE_DAYS = 3_650
SERVER_DAYS = 397
_EARLIER = timedelta(days=1)
"""Certificates are valid from a day before: clocks of clients differ."""
LONGEST_COMMON_NAME = 64
"""ub-common-name of RFC 5280, appendix A.1."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority's certificate and its private key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def make(cls, host: str, now: datetime) -> "Authority":
        """Return a new authority. A random part of its name distinguishes it from earlier ones of `host`."""
        key = generate_private_key(SECP256R1())
        name = _name(f"Scaup {host[:40]} {secrets.token_hex(4)}")
        draft = _draft(name, name, key, now, now + timedelta(days=AUTHORITY_DAYS))
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        draft = draft.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(draft.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "Authority":
        """Read an authority from its two files.

        Raises:
            CannotStart: they cannot be used; the text names the fix.
        """
        try:
            found = x509.load_pem_x509_certificate(certificate.read_bytes())
            private = load_pem_private_key(key.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise CannotStart(
                f"the authority in {certificate} and {key} cannot be used ({error}): restore both, or remove both, make a new "
                "one with `scaup tls init` and give every client the new ca.pem"
            ) from error
        if not isinstance(private, EllipticCurvePrivateKey) or private.public_key() != found.public_key():
            raise CannotStart(f"{key} is not the key of {certificate}: restore the right one, or remove both")
        return cls(found, private)

    def save(self, certificate: Path, key: Path) -> None:
        """Write the certificate for everyone to read, and the key for its owner only."""
        write_private(key, private_pem(self.key))
        write_public(certificate, public_pem(self.certificate))

    def server(self, names: Iterable[str], now: datetime) -> str:
        """Return a new private key and a server's certificate for these host names and IP addresses, as PEM."""
        wanted = list(dict.fromkeys(names))
        alternatives = x509.SubjectAlternativeName([_alternative(each) for each in wanted])
        return self._issue(wanted[0], SERVER_DAYS, ExtendedKeyUsageOID.SERVER_AUTH, now, alternatives)

    def device(self, user: str, now: datetime) -> str:
        """Return a new private key and a client's certificate, as PEM; the broker takes its common name as the user name."""
        return self._issue(user, DEVICE_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH, now)

    def issued(self, certificate: x509.Certificate) -> bool:
        """Return whether this authority signed a certificate."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revocations(self, serial_numbers: Iterable[int], now: datetime) -> str:
        """Return the list of revoked certificates, as PEM. Valid as long as the authority: an old list refuses all."""
        draft = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject).last_update(now - _EARLIER)
        draft = draft.next_update(self.certificate.not_valid_after_utc)
        for each in sorted(set(serial_numbers)):
            revoked = x509.RevokedCertificateBuilder().serial_number(each).revocation_date(now - _EARLIER)
            draft = draft.add_revoked_certificate(revoked.build())
        draft = draft.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        draft = draft.add_extension(x509.CRLNumber(int(now.timestamp() * 1_000)), critical=False)
        return draft.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def _issue(
        self,
        common_name: str,
        days: int,
        purpose: ObjectIdentifier,
        now: datetime,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> str:
        key = generate_private_key(SECP256R1())
        end = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        draft = _draft(_name(common_name), self.certificate.subject, key, now, end)
        draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        draft = draft.add_extension(_usage(signs_certificates=False), critical=True)
        draft = draft.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        draft = draft.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        if alternatives is not None:
            draft = draft.add_extension(alternatives, critical=False)
        return private_pem(key) + public_pem(draft.sign(self.key, hashes.SHA256()))


def private_pem(key: EllipticCurvePrivateKey) -> str:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def write_public(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by everyone."""
    draft = path.with_name(f".{path.name}.public")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    draft = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    draft = draft.serial_number(x509.random_serial_number()).not_valid_before(now - _EARLIER).not_valid_after(end)
    return draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:LONGEST_COMMON_NAME])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
