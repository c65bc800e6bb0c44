"""Plant time from run to run: a run continues after the last plant time of the runs before it.

At a time scale s above 1, a plant gets ahead of the wall clock. If the next run began at the wall clock, its readings would lie
among those of the run before. So each run leaves a record in the data directory: its scale and epoch, and, when it is stopped,
the plant time that it reached. After a crash, that is the plant time of the last write to a file of the run; where no file is
seen, as in containers, the time until now counts.

At scale 1 plant time is wall time, always: there real devices and their time are what matters.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from broker.runtime.settings import ROOT, Settings

_LAST = "SELECT max(event_at) AS last_at FROM messages WHERE starts_with(source, 'sim-')"
_PATIENCE_S = 30.0


class _Last(msgspec.Struct, frozen=True):
    last_at: datetime | None


class PlantRun(msgspec.Struct, frozen=True):
    """The last run on a data directory.

    `last_at` is the highest plant time of all runs that have ended, `running` whether this one has not been stopped.
    """

    scale: float
    epoch: datetime
    began_at: datetime
    last_at: datetime | None = None
    running: bool = True

    def plant_at(self, wall_at: datetime) -> datetime:
        """Return the plant time of the run at a wall time."""
        return self.epoch + (wall_at - self.epoch) * self.scale


def epoch_after(last_at: datetime | None, wall_at: datetime, scale: float) -> datetime:
    """Return the epoch with which plant time at `wall_at` is `last_at`, or wall time where that is later.

    With the epoch e, plant time at the wall time w is e + s (w - e). For p at w, that gives e = w - (p - w) / (s - 1).
    """
    if last_at is None or last_at <= wall_at or scale == 1:
        return wall_at
    try:
        return wall_at - (last_at - wall_at) / (scale - 1)
    except OverflowError:  # a scale that is almost 1
        return wall_at


def begin(settings: Settings, scale: float, wall_at: datetime, epoch: datetime | None = None) -> datetime:
    """Record that a run begins, and return its epoch, which is chosen unless it is given."""
    before = _read(settings)
    last_at = _last_at(settings, before, wall_at) if before else _recorded_at(settings)
    chosen = epoch_after(last_at, wall_at, scale) if epoch is None else epoch
    _write(settings, PlantRun(scale=scale, epoch=chosen, began_at=wall_at, last_at=last_at))
    return chosen


def end(settings: Settings, wall_at: datetime, stopped: bool) -> None:
    """Record how far plant time has come. `stopped`: the run lasted until `wall_at`, else it had crashed before."""
    run = _read(settings)
    if run is None or not run.running:
        return
    last_at = max(filter(None, (run.last_at, run.plant_at(wall_at)))) if stopped else _last_at(settings, run, wall_at)
    _write(settings, msgspec.structs.replace(run, last_at=last_at, running=False))


def ahead_at(settings: Settings, wall_at: datetime) -> datetime | None:
    """Return the plant time of earlier runs that a run at scale 1 lies behind, None if it does not."""
    run = _read(settings)
    behind = run is not None and run.scale == 1 and run.last_at is not None and run.last_at > wall_at
    return run.last_at if run is not None and behind else None


def _last_at(settings: Settings, run: PlantRun, wall_at: datetime) -> datetime | None:
    """Return the highest plant time of a run that does not run any more and of those before it."""
    if not run.running:
        return run.last_at
    written_at = max(_times(settings), default=wall_at)
    if not run.began_at <= written_at <= wall_at:
        written_at = wall_at
    return max(filter(None, (run.last_at, run.plant_at(written_at))))


def _recorded_at(settings: Settings) -> datetime | None:
    """Return the last plant time that simulated plants have in the database: earlier releases left no other record of it."""
    if not settings.database.exists():
        return None
    command = [sys.executable, "-m", "adapters.cli.main", "query", "-o", "json", _LAST]
    environment = {**os.environ, **settings.environment, "SCAUP_DATA_DIR": str(settings.data_dir)}
    with suppress(subprocess.SubprocessError, msgspec.DecodeError):
        found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=_PATIENCE_S, check=True)  # noqa: S603
        return msgspec.json.decode(found.stdout, type=list[_Last])[0].last_at
    return None


def _times(settings: Settings) -> Iterator[datetime]:
    """Return when the files of a run were last written to."""
    folders = (settings.data_dir / "broker", settings.data_dir / "logs")
    files = [*settings.data_dir.glob(settings.database.name + "*"), *(file for folder in folders for file in folder.glob("*"))]
    for file in files:
        if file.is_file():
            yield datetime.fromtimestamp(file.stat().st_mtime, UTC) + timedelta(seconds=1)


def _file(settings: Settings) -> Path:
    return settings.data_dir / "plant-time.json"


def _read(settings: Settings) -> PlantRun | None:
    try:
        return msgspec.json.decode(_file(settings).read_bytes(), type=PlantRun)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _write(settings: Settings, run: PlantRun) -> None:
    path = _file(settings)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(run) + b"\n")
    new.replace(path)
