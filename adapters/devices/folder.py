"""The folder of declarations, looked at twice a second, and what is kept beside it over a restart."""

import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from adapters.devices.catalog import Unusable
from adapters.devices.declaration import FOLDER
from broker.launch.credentials import write_private
from broker.log import Log
from broker.runtime.settings import ROOT, Settings

log = Log(__name__)

KEPT = "devices.json"
"""File in the data directory: the usable texts, the filters that the session at the broker is subscribed to, and states."""
LARGEST_BYTES = 1_000_000

Stamp = tuple[int, int, int]


class Kept(msgspec.Struct, frozen=True):
    """What is kept over a restart."""

    good: dict[str, str] = {}
    filters: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    """The declarations that have a retained state."""
    tables: dict[str, str] = {}
    """The requests by which the recorder made the views of declared tables, by NAME."""
    biases: dict[str, float] = {}
    """The integrals of the loops around thermostatic valves, by room, °C."""


def folder_of(settings: Settings) -> Path:
    """Return the folder of the declarations."""
    given = settings.value(FOLDER)
    path = Path(given).expanduser() if given else settings.data_dir / "devices"
    return path if path.is_absolute() else ROOT / path


class Folder:
    """The files of a folder: `*.toml` whose name begins neither with `.` nor with `#`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(OSError):  # in a container, it is a folder of the host that can only be read
            path.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, Stamp] | None = None
        self._read: dict[str, Stamp] | None = None
        self._error: str | None = None

    def changed(self, *, settle: bool = True) -> bool:
        """Return whether the files are others than at the last `read`.

        With `settle`, only once they have stayed the same between two calls: an editor may be in the middle of writing.
        """
        seen, before = self._stamps(), self._seen
        self._seen = seen
        return seen != self._read and (seen == before or not settle)

    def read(self) -> dict[str, str | Unusable]:
        """Return the content of each file."""
        self._read = self._seen = self._stamps()
        return {name: _content(self._path / name) for name in sorted(self._read)}

    def _stamps(self) -> dict[str, Stamp]:
        try:
            found = {each.name: _stamp(each) for each in self._path.iterdir() if _is_declaration(each.name)}
            error = None
        except FileNotFoundError as missing:
            found, error = {}, missing.strerror
        except OSError as unreadable:  # it may have the same files as before
            found, error = self._seen or {}, unreadable.strerror
        if error and error != self._error:
            log.error("folder-unreadable", "%(folder)s cannot be read: %(error)s", folder=self._path, error=error)
        self._error = error
        return found


def read_kept(data_dir: Path) -> Kept:
    """Return what an earlier start has kept, nothing where it cannot be read."""
    try:
        return msgspec.json.decode((data_dir / KEPT).read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return Kept()


def write_kept(data_dir: Path, kept: Kept) -> None:
    """Keep something over a restart.

    Raises:
        OSError: the data directory cannot be written.
    """
    write_private(data_dir / KEPT, msgspec.json.encode(kept).decode())


def _is_declaration(name: str) -> bool:
    return name.endswith(".toml") and not name.startswith((".", "#"))


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere, or a file that has just been removed: reading it gives the reason
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _content(path: Path) -> str | Unusable:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for its writer
            return Unusable("not a file")
        if status.st_size > LARGEST_BYTES:
            return Unusable(f"larger than {LARGEST_BYTES:,} bytes")
        return path.read_bytes().decode("utf-8-sig")  # editors of Windows begin with a mark
    except UnicodeDecodeError:
        return Unusable("not UTF-8")
    except OSError as error:
        return Unusable(f"cannot be read: {error.strerror}")
