"""Certificates with which devices log in instead of a password, one per account, and their revocation.

Private keys are not kept.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from broker.launch.authority import Authority, write_public
from broker.launch.certificates import open_authority
from broker.launch.tls import AUTHORITY, ISSUED, REVOKED


def issue(data_dir: Path, account: str, now: datetime | None = None) -> str:
    """Return a private key and a new certificate of an account, as PEM; the one before is revoked.

    The broker has to reload its files (SIGHUP).

    Raises:
        CannotStart: the files of the authority are damaged.
        OSError: the data directory cannot be written.
    """
    now = now or datetime.now(UTC)
    authority = open_authority(data_dir, now)
    pem = authority.device(account, now)
    serials = _serials(data_dir)
    if account in serials:
        _add_revoked(data_dir, authority, serials[account], now)
    serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
    _write_serials(data_dir, {**serials, account: serial})
    return pem


def revoke(data_dir: Path, account: str, now: datetime | None = None) -> bool:
    """Revoke the certificate of an account; return whether it had one. The broker has to reload its files (SIGHUP).

    A connection that is open stays open: what ends its rights is the access file without the account.

    Raises:
        CannotStart: the files of the authority are damaged.
        OSError: the data directory cannot be written.
    """
    serials = _serials(data_dir)
    if account not in serials:
        return False
    now = now or datetime.now(UTC)
    _add_revoked(data_dir, open_authority(data_dir, now), serials.pop(account), now)
    _write_serials(data_dir, serials)
    return True


def has_certificate(data_dir: Path, account: str) -> bool:
    """Return whether an account has a certificate that is not revoked."""
    return account in _serials(data_dir)


def _add_revoked(data_dir: Path, authority: Authority, serial: int, now: datetime) -> None:
    path = data_dir / REVOKED
    known = x509.load_pem_x509_crl(path.read_bytes())
    write_public(path, authority.revocations([*(each.serial_number for each in known), serial], now))


def _serials(data_dir: Path) -> dict[str, int]:
    """Return the serial number of every account's certificate: without the authority that signed them, none."""
    path = data_dir / ISSUED
    if not path.is_file() or not (data_dir / AUTHORITY).is_file():
        return {}
    return {account: int(serial, 16) for account, serial in json.loads(path.read_text()).items()}


def _write_serials(data_dir: Path, serials: dict[str, int]) -> None:
    write_public(data_dir / ISSUED, json.dumps({name: f"{each:x}" for name, each in sorted(serials.items())}, indent=1) + "\n")
