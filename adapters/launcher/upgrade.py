"""Upgrades: which release a data directory was last started with, and what `make up` does where it is another one."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import msgspec

from adapters.client.errors import Failed
from broker.runtime.settings import ROOT, Settings, release

MIGRATE = ("-m", "storage.database.upgrade")
"""Arguments of Python that migrate the database of a data directory on which no recorder runs."""
_FOLDERS = ("broker", "controllers", "adapters", "sim", "storage")
_FILES = ("mosquitto.conf", "requirements.lock", "requirements-node.lock", "Dockerfile")
_INSTALLED = {"__pycache__", "node_modules"}
"""Folders of tools among the code. The lock files say what is in them, so the same release may install more, for tests."""
_ROOM = 1.2
_NOT_OURS = 3
"""Exit code of `MIGRATE` for a database that it leaves alone: of a newer release, or open elsewhere."""


class Started(msgspec.Struct, frozen=True):
    """A release that was started: its version and commit, a digest of its code, and its migrations."""

    version: str
    commit: str
    code: str
    migrations: tuple[int, ...]

    @property
    def name(self) -> str:
        """The release as people name it."""
        return f"{self.version} ({self.commit})" if self.commit else self.version


def this() -> Started:
    """Return what this checkout is."""
    return Started(release(), _commit(), _code(), _migrations())


def started(settings: Settings) -> Started | None:
    """Return the release that was last healthy on a data directory, None if that is not known."""
    try:
        return msgspec.json.decode(_file(settings).read_bytes(), type=Started)
    except (OSError, msgspec.DecodeError):
        return None


def note(settings: Settings) -> None:
    """Record that this release is healthy on a data directory."""
    path = _file(settings)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(this()) + b"\n")
    new.replace(path)


def change(settings: Settings) -> str | None:
    """Describe the change from the release that was last started to this one, None if it is the same."""
    before, now = started(settings), this()
    if before is None:
        return f"from an earlier release to {now.name}"
    return f"from {before.name} to {now.name}" if before.code != now.code else None


def migrates(settings: Settings) -> bool:
    """Return whether the database may need migrations."""
    before = started(settings)
    return before is None or before.migrations != _migrations()


def check_room(settings: Settings) -> None:
    """Check that an upgrade has room for a copy of the database, before anything is stopped.

    Raises:
        Failed: it does not.
    """
    if not settings.database.exists() or not migrates(settings):
        return
    needed, free = int(settings.database.stat().st_size * _ROOM), shutil.disk_usage(settings.data_dir).free
    if free < needed:
        raise Failed(
            f"the upgrade needs {needed >> 20} MiB of disk, {free >> 20} MiB are free at {settings.data_dir}",
            "make room; until then the release before goes on",
        )


def failed(settings: Settings, reason: str, code: int) -> Failed:
    """Return the error for an upgrade that ended with an exit code of `MIGRATE`, with the way back."""
    if code == _NOT_OURS:
        text, _, fix = reason.strip().partition(": ")
        return Failed(text, fix)
    before = started(settings)
    checkout = f"git checkout {before.commit}" if before and before.commit else "check out the release before"
    return Failed(
        reason.strip() or "the upgrade was killed; the database is unchanged", f"to go back: {checkout}, then make up"
    )


def _file(settings: Settings) -> Path:
    return settings.data_dir / "release.json"


def _code() -> str:
    """Return a digest of everything that runs."""
    digest = hashlib.sha256()
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if _INSTALLED.isdisjoint(path.parts)]
    for path in sorted([*files, *(ROOT / name for name in _FILES)]):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _migrations() -> tuple[int, ...]:
    return tuple(sorted(int(path.name.partition("_")[0]) for path in (ROOT / "storage/database/migrations").glob("*.sql")))


def _commit() -> str:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return ""
    done = subprocess.run([git, "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
