"""Generated passwords, one per component, in files that only their owner can read.

`{data}/credentials/{account}` holds a password, `{data}/broker/passwords` the hashes that Mosquitto checks: `$7$`, PBKDF2 with
SHA-512, the format of mosquitto_passwd(1).
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from broker.runtime.settings import CREDENTIALS, read_password

_ITERATIONS = 101
"""As in mosquitto_passwd. The passwords are 256 random bits, which more iterations would not make safer."""


def create_passwords(data_dir: Path, accounts: Iterable[str]) -> dict[str, str]:
    """Return the password of every account, generating those that are missing (file mode 0600, folder 0700)."""
    folder = data_dir / CREDENTIALS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {}
    for account in accounts:
        password = read_password(data_dir, account)
        if password is None:
            password = secrets.token_urlsafe(32)
            write_private(folder / account, password + "\n")
        passwords[account] = password
    return passwords


def write_password_file(path: Path, passwords: Mapping[str, str], hashes: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Write Mosquitto's password file, from passwords and from hashes; return whether it had to change.

    Every hash has its own salt: those in the file that fit stay.
    """
    before = path.read_text() if path.is_file() else ""
    known = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    kept = {name: known.get(name, "") for name in passwords}
    wanted = {name: kept[name] if fits(kept[name], password) else hashed(password) for name, password in passwords.items()}
    text = "".join(f"{name}:{each}\n" for name, each in sorted({**hashes, **wanted}.items()))
    if text == before:
        return False
    write_private(path, text)
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def hashed(password: str) -> str:
    """Return the hash of a password, with a random salt."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def fits(password_hash: str, password: str) -> bool:
    """Return whether a password has this hash, in a time that does not depend on where they differ."""
    try:
        _, kind, iterations, salt, digest = password_hash.split("$")
        expected = hashlib.pbkdf2_hmac(
            "sha512", password.encode("utf-8", "surrogatepass"), base64.b64decode(salt), int(iterations)
        )
        return kind == "7" and hmac.compare_digest(base64.b64decode(digest), expected)
    except ValueError:
        return False
