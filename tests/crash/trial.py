"""One trial: a system under load, a cause that harms it, and the count afterwards."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from tests.crash.count import Count, count_in
from tests.crash.disk import SmallDisk, small_disk
from tests.crash.errors import CrashTestError, Skipped
from tests.crash.world import Load, World, world


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Amounts, per cause: `kills` of the recorder, `broker_kills` of the broker, at least so many `messages`."""

    kills: int = 50
    broker_kills: int = 10
    messages: int = 0
    seed: int = 0


@dataclass
class Trial:
    """The objects that a cause works with. `notes` are printed below the table."""

    world: World
    options: Options
    random: random.Random
    disk: SmallDisk | None = None
    notes: list[str] = field(default_factory=list)

    def pause(self, least_s: float, most_s: float) -> None:
        """Let everything run for a random time."""
        time.sleep(self.random.uniform(least_s, most_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause. `inflict` does the harm and returns how often; with `exact` nothing may be lost or doubled."""

    name: str
    inflict: Callable[[Trial], int]
    exact: bool = True
    load: Load = field(default_factory=Load)
    disk_mb: int = 0
    """Size of a separate file system for the database; 0 for none."""
    recorder_settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A line of the table; without a `count` the cause was skipped or broke off, and a note has the reason."""

    cause: Cause
    seconds: float
    kills: int = 0
    count: Count | None = None
    notes: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def failed(self) -> bool:
        if self.count is None:
            return not self.skipped
        return not self.count.sound or (self.cause.exact and not self.count.exact)


def run(cause: Cause, options: Options, folder: Path) -> Outcome:
    """Run one trial below `folder`."""
    folder.mkdir(parents=True)
    began_s = time.monotonic()
    try:
        outcome = _run(cause, options, folder)
    except Skipped as why:
        outcome = Outcome(cause=cause, seconds=0, notes=(f"skipped: {why}",), skipped=True)
    except CrashTestError as why:
        outcome = Outcome(cause=cause, seconds=0, notes=(f"broke off: {why}",))
    return replace(outcome, seconds=time.monotonic() - began_s)


def report(text: str) -> None:
    """Print progress on standard error."""
    click.echo(text, err=True)


def _run(cause: Cause, options: Options, folder: Path) -> Outcome:
    seed = f"{options.seed}/{cause.name}"
    with _disk(cause, folder) as disk, world(folder, _settings(cause, disk)) as here:
        trial = Trial(here, options, random.Random(seed), disk)
        here.publish(replace(cause.load, least=options.messages), seed)
        kills = cause.inflict(trial)
        record = here.stop_publishing()
        report(f"  {len(record.acknowledged)} messages acknowledged, waiting until they are recorded")
        here.drain(len(record.acknowledged))
        counted = count_in(here.stop(), record, here.killed_s)
    return Outcome(cause=cause, seconds=0, kills=kills, count=counted, notes=tuple(trial.notes))


@contextmanager
def _disk(cause: Cause, folder: Path) -> Iterator[SmallDisk | None]:
    if not cause.disk_mb:
        yield None
        return
    with small_disk(folder / "disk", cause.disk_mb) as disk:
        yield disk


def _settings(cause: Cause, disk: SmallDisk | None) -> dict[str, str]:
    placed = {"SCAUP_DATA_DIR": str(disk.folder)} if disk else {}
    return {"SCAUP_MIN_FREE_MB": "50", **cause.recorder_settings, **placed}
