"""`up`, `down` and `logs`: one system on one data directory, in either runtime."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.cli.options import examples
from adapters.client.errors import WrongUsage
from broker.runtime.settings import Settings

if TYPE_CHECKING:
    from adapters.launcher.native import Native
    from adapters.launcher.runtime import Runtime

NATIVE, DOCKER = "native", "docker"
TIME_SCALE = "60"
"""Plant seconds per wall second, unless SCAUP_TIME_SCALE says something else."""


@click.command(epilog=examples("SCAUP_COMPONENTS=recorder,heating scaup up", "scaup up"))
def up() -> None:
    """Start everything and wait until it is healthy.

    Harmless where it runs already. RUNTIME=native or RUNTIME=docker decides where; otherwise a container engine is used if one
    answers.
    """
    from adapters.launcher import preflight
    from adapters.launcher.runtime import report

    preflight.check_python()
    settings = _settings()
    preflight.check_disk(settings.data_dir)
    with _alone(settings.data_dir):
        runtime = _runtime(settings)
        runtime.start(_environment(settings, runtime))
    click.echo(report(settings, runtime))


@click.command(epilog=examples("scaup down"))
@click.option("--force", is_flag=True, help="Stop even if the disk is too full for the broker to save what is queued.")
def down(force: bool) -> None:
    """Stop everything cleanly: nothing recorded is lost, no process and no port is left."""
    from adapters.launcher import preflight

    settings = _settings()
    if not settings.data_dir.is_dir():
        click.echo("nothing runs", err=True)
        return
    with _alone(settings.data_dir):
        if not force:
            preflight.check_room_to_save(settings.data_dir)
        _epoch_file(settings).unlink(missing_ok=True)
        stopped = [runtime.stop() for runtime in _present(settings)]
    click.echo("everything is stopped" if any(stopped) else "nothing runs", err=True)


@click.command(epilog=examples("scaup logs heating -f"))
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Lines of the past to begin with, for each component.",
)
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show what the components log, or one of them: NAME, which may be `broker` too."""
    settings = _settings()
    runtimes = _present(settings)
    running = [runtime for runtime in runtimes if runtime.running()]
    (running or runtimes)[0].logs(name, lines, follow)


@click.command(hidden=True)
def prepare() -> None:
    """Write accounts, access rules and the broker's configuration: what a container does before the broker starts."""
    from adapters.launcher.compose import prepare_volume

    prepare_volume(_settings())


@click.command(hidden=True)
def need_broker() -> None:
    """Make sure that tests find a broker: a container engine that answers, or a Mosquitto on this machine."""
    from adapters.launcher import preflight

    if os.environ.get("SCAUP_TEST_BROKER") == "local" or not engine_answers():
        preflight.ensure_broker()


@click.command(hidden=True)
def runs() -> None:
    """Tell by the exit code, 0 or 1, whether a system shall run on the data directory: what `make clean` asks first."""
    raise SystemExit(not _epoch_file(_settings()).exists())


def engine_answers() -> bool:
    """Tell whether a container engine with Compose answers within three seconds."""
    docker = shutil.which("docker")
    return docker is not None and all(_succeeds([docker, *words]) for words in (["info"], ["compose", "version"]))


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=3, check=False).returncode == 0  # noqa: S603
    except subprocess.TimeoutExpired:
        return False


def _settings() -> Settings:
    settings = Settings.load()
    return replace(settings, data_dir=settings.data_dir.resolve())


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Let only one `up` or `down` work on a data directory at a time; the lock ends with the process."""
    with (data_dir / "lifecycle.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another make up or make down is at work here: waiting for it", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _runtime(settings: Settings) -> "Runtime":
    """Choose where `up` starts the system: as told, or where it runs already, or in an engine that answers, or natively."""
    from adapters.launcher.compose import Compose
    from adapters.launcher.runtime import own_broker

    native, wanted = _native(settings), _wanted()
    here = wanted is None and own_broker(settings) and not native.running()
    if wanted == DOCKER or (here and engine_answers()):
        return Compose(settings=settings, components=native.components)
    return native


def _present(settings: Settings) -> "list[Runtime]":
    """Return the runtimes in which something may run."""
    from adapters.launcher.compose import Compose

    native, wanted = _native(settings), _wanted()
    compose = Compose(settings=settings, components=native.components)
    if wanted is None:
        return [native, compose] if engine_answers() else [native]
    return [compose if wanted == DOCKER else native]


def _native(settings: Settings) -> "Native":
    from adapters.client.declaration import OPERATOR
    from adapters.launcher import preflight
    from adapters.launcher.native import Native
    from adapters.launcher.registry import components

    known = components()
    preflight.check_components(settings.components, known)
    chosen = tuple(name for name in known if not settings.components or name in settings.components)
    return Native(settings=settings, declarations={**known, OPERATOR.name: OPERATOR}, components=chosen)


def _wanted() -> str | None:
    wanted = os.environ.get("RUNTIME", "").strip() or None
    if wanted not in (None, NATIVE, DOCKER):
        raise WrongUsage(f"RUNTIME must be native or docker, not {wanted!r}", "or leave it out")
    return wanted


def _environment(settings: Settings, runtime: "Runtime") -> Mapping[str, str]:
    """The variables of every component: what was given, at the same plant time for all."""
    given = {name: value for name, value in settings.environment.items() if name != "SCAUP_MQTT_PASSWORD"}
    given.setdefault("SCAUP_TIME_SCALE", TIME_SCALE)
    given.setdefault("SCAUP_PLANT_EPOCH", _epoch(settings, runtime.running()))
    return {**given, "SCAUP_DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1"}


def _epoch(settings: Settings, running: bool) -> str:
    """When plant time began: now, unless the system runs already."""
    path = _epoch_file(settings)
    if not running or not path.is_file():
        path.write_text(datetime.now(UTC).isoformat(timespec="milliseconds") + "\n")
    return path.read_text().strip()


def _epoch_file(settings: Settings) -> Path:
    return settings.data_dir / "plant-epoch"


if __name__ == "__main__":
    click.Group(commands=[up, down, logs, prepare, need_broker, runs])()
