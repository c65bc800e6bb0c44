"""The other files of a backup: those of the data directory that a start does not make again, and the settings."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

SETTINGS = "settings"
"""Folder of a restored data directory with files that were elsewhere: `.env`, and what settings name."""
_MADE_AGAIN = (
    # the database and the archive, which a backup has in another form
    *("scaup.duckdb*", "archive", "compacting", "backing-up", "restoring"),
    # what the next start makes, and what belongs to a run
    *("broker", "logs", "supervisord.*", "supervisor.sock", "compose.ports.json", "plant-epoch", "release.json", "upgrade"),
    *("*.lock", "*.pid", "*.sock", "*.part", "*.new", "mosquitto.log", "lost+found"),
)


def data_files(data_dir: Path) -> dict[str, Path]:
    """Return the files of a data directory that belong in a backup, by their path in it."""
    found: dict[str, Path] = {}
    for entry in sorted(data_dir.iterdir()):
        if not any(fnmatch(entry.name, pattern) for pattern in _MADE_AGAIN):
            found |= {str(path.relative_to(data_dir)): path for path in _files(entry)}
    return found


def settings_files(env_file: Path, environment: Mapping[str, str], data_dir: Path) -> dict[str, Path]:
    """Return the files outside the data directory that settings are in or name, by their path in a backup."""
    found = {f"{SETTINGS}/{env_file.name}": env_file} if env_file.is_file() else {}
    for variable, value in sorted(environment.items()):
        path = Path(value).expanduser()
        if variable == "SCAUP_DATA_DIR" or not value.strip() or "/" not in value or not path.exists():
            continue
        if not path.resolve().is_relative_to(data_dir.resolve()):
            found |= {f"{SETTINGS}/{variable}/{each.relative_to(path.parent)}": each for each in _files(path)}
    return found


def _files(entry: Path) -> Iterator[Path]:
    if entry.is_file():
        yield entry
    elif entry.is_dir():
        yield from (path for path in sorted(entry.rglob("*")) if path.is_file() and not path.name.endswith((".part", ".new")))
