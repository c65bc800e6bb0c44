"""Certificates with which devices log in instead of a password, one per account, and their revocation.

Private keys are not kept.
"""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from broker.launch.authority import LONGEST_COMMON_NAME, Authority, write_public
from broker.launch.certificates import open_authority
from broker.launch.tls import ISSUED, REVOKED, read_issued

_TOKEN_BYTES = 4
LONGEST_ACCOUNT = LONGEST_COMMON_NAME - 1 - 2 * _TOKEN_BYTES
"""Most characters in the name of an account that has a certificate."""


def issue(data_dir: Path, account: str, now: datetime | None = None) -> str:
    """Return a private key and a new certificate of an account, as PEM; the one before is revoked.

    The access file has to be written again, and the broker has to reload its files (SIGHUP).

    Raises:
        CannotStart: the files of the authority are damaged.
        OSError: the data directory cannot be written.
    """
    now = now or datetime.now(UTC)
    revoke(data_dir, account, now)
    user = f"{account}:{secrets.token_hex(_TOKEN_BYTES)}"
    pem = open_authority(data_dir, now).device(user, now)
    serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
    _write_issued(data_dir, {**read_issued(data_dir), account: {"user": user, "serial": f"{serial:x}"}})
    return pem


def revoke(data_dir: Path, account: str, now: datetime | None = None) -> bool:
    """Revoke the certificate of an account; return whether it had one.

    The access file has to be written again, and the broker has to reload its files (SIGHUP). A connection that is open stays
    open, without any rights.

    Raises:
        CannotStart: the files of the authority are damaged. The certificate counts as revoked in the access file all the same.
        OSError: the data directory cannot be written.
    """
    issued = read_issued(data_dir)
    if account not in issued:
        return False
    serial = int(issued.pop(account)["serial"], 16)
    _write_issued(data_dir, issued)
    now = now or datetime.now(UTC)
    _add_revoked(data_dir, open_authority(data_dir, now), serial, now)
    return True


def _add_revoked(data_dir: Path, authority: Authority, serial: int, now: datetime) -> None:
    path = data_dir / REVOKED
    known = x509.load_pem_x509_crl(path.read_bytes())
    write_public(path, authority.revocations([*(each.serial_number for each in known), serial], now))


def _write_issued(data_dir: Path, issued: dict[str, dict[str, str]]) -> None:
    write_public(data_dir / ISSUED, json.dumps(dict(sorted(issued.items())), indent=1) + "\n")
