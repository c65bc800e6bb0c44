"""Generated passwords, one per component, in files that only their owner can read.

`{data}/credentials/{account}` holds a password, `{data}/broker/passwords` the hashes that Mosquitto checks: `$7$`, PBKDF2 with
SHA-512, the format of mosquitto_passwd(1).
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

_ITERATIONS = 101
"""As in mosquitto_passwd. The passwords are 256 random bits, which more iterations would not make safer."""


def read_password(data_dir: Path, account: str) -> str | None:
    """Return the generated password of an account, None if there is none that this user may read."""
    try:
        return (data_dir / "credentials" / account).read_text().strip() or None
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def create_passwords(data_dir: Path, accounts: Iterable[str]) -> dict[str, str]:
    """Return the password of every account, generating those that are missing (file mode 0600, folder 0700)."""
    folder = data_dir / "credentials"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {}
    for account in accounts:
        password = read_password(data_dir, account)
        if password is None:
            password = secrets.token_urlsafe(32)
            write_private(folder / account, password + "\n")
        passwords[account] = password
    return passwords


def password_file(passwords: dict[str, str]) -> str:
    """Return the text of Mosquitto's password file."""
    return "".join(f"{account}:{_hashed(password)}\n" for account, password in sorted(passwords.items()))


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
