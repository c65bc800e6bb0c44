"""Generated passwords, one per component, in files that only their owner can read.

`{data}/credentials/{account}` holds a password, `{data}/broker/passwords` the hashes that Mosquitto checks: `$7$`, PBKDF2 with
SHA-512, the format of mosquitto_passwd(1).
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

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


def password_file(passwords: Mapping[str, str]) -> str:
    """Return the text of Mosquitto's password file."""
    return "".join(f"{account}:{_hashed(password)}\n" for account, password in sorted(passwords.items()))


def write_password_file(path: Path, passwords: Mapping[str, str]) -> bool:
    """Write Mosquitto's password file; return whether it had to change.

    Every hash has its own salt, so the text differs each time: a file whose hashes fit stays.
    """
    lines = path.read_text().splitlines() if path.is_file() else []
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    if known.keys() == passwords.keys() and all(_fits(known[name], passwords[name]) for name in known):
        return False
    write_private(path, password_file(passwords))
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _fits(hashed: str, password: str) -> bool:
    try:
        _, kind, iterations, salt, digest = hashed.split("$")
        expected = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(iterations))
        return kind == "7" and base64.b64decode(digest) == expected
    except ValueError:
        return False
