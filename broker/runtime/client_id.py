"""Client ids that cannot be guessed, and the note on what became of a component's session of earlier releases.

MQTT gives a session to every client that connects with its id, whatever its login (section 3.1.4 of MQTT 5). So the id of a
component ends in a secret part, which is kept beside the passwords in files that only their owner can read.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from broker.runtime.settings import CREDENTIALS, read_password

SECRET, HANDOVER = ".client", ".handover"
"""Endings of the two files of a component, whose names begin with that of the component."""

DONE = "done"
"""The note of a component whose earlier session is ended."""


def read_secret(data_dir: Path, name: str) -> str | None:
    """Return the secret part of a component's client id, None if there is none that this user may read."""
    return read_password(data_dir, name + SECRET)


def random_secret() -> str:
    """Return a new secret part: 128 random bits."""
    return secrets.token_hex(16)


def keep_secrets(data_dir: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the secret part of each component, generating those that are missing.

    Raises:
        OSError: the folder of the credentials cannot be written.
    """
    return {name: read_secret(data_dir, name) or _keep(data_dir / CREDENTIALS / (name + SECRET)) for name in names}


def read_note(data_dir: Path, name: str) -> str | None:
    """Return the note on the handover of a component's session of earlier releases, None before the first."""
    return read_password(data_dir, name + HANDOVER)


def write_note(data_dir: Path, name: str, note: str) -> None:
    """Note how far the handover is; the note is durable when this returns.

    Raises:
        OSError: the folder of the credentials cannot be written.
    """
    path = data_dir / CREDENTIALS / (name + HANDOVER)
    _draft(path, note).replace(path)
    _sync(path.parent)


def _keep(path: Path) -> str:
    """Write a new secret, unless another process does so first; return the one that is there now."""
    draft = _draft(path, random_secret())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    _sync(path.parent)
    return path.read_text().strip()


def _draft(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
    return draft


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
