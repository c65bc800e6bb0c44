"""Start and stop one system on one data directory, in either runtime."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from adapters.client.declaration import OPERATOR
from adapters.client.errors import Failed, WrongUsage
from adapters.launcher import plant_time, preflight, security, upgrade
from adapters.launcher.compose import Compose
from adapters.launcher.native import Native
from adapters.launcher.registry import chosen, components
from adapters.launcher.runtime import Runtime, own_broker, report
from broker.runtime.settings import HISTORY_DAYS, Settings

NATIVE, DOCKER = "native", "docker"
TIME_SCALE = "60"
"""Plant seconds per wall second, unless SCAUP_TIME_SCALE is set."""
DAYS_OF_HISTORY = "7"
"""Days of simulated history in an empty recording, unless SCAUP_SIM_HISTORY_DAYS is set."""
_BEHIND = """At time scale 1, plant time is wall time. Earlier runs simulated until {:%Y-%m-%d %H:%M}Z: what is simulated now
lies before that. A run at another scale continues after it."""


def load_settings() -> Settings:
    """Return the settings, with the data directory's path resolved."""
    settings = Settings.load()
    return replace(settings, data_dir=settings.data_dir.resolve())


def start(settings: Settings) -> str:
    """Start everything that does not run, wait until it is healthy, and return a report for the terminal.

    Raises:
        ClientError: the system cannot start, or is not healthy in time; the text names cause and fix.
    """
    preflight.check_python()
    preflight.check_disk(settings.data_dir)
    with locked(settings.data_dir):
        _refuse_unfinished_restore(settings)
        runtime = choose_runtime(settings)
        _stop_earlier_release(settings, runtime)
        if isinstance(runtime, Native) and own_broker(settings):
            for each in security.secure(settings):
                click.echo(each, err=True)
        runtime.start(_environment(settings, runtime))
        upgrade.note(settings)
    for each in security.complaints(settings):
        click.echo(f"Warning: {each}", err=True)
    text = report(settings, runtime, [components()[name] for name in _native(settings).components])
    ahead_at = plant_time.ahead_at(settings, datetime.now(UTC))
    return text if ahead_at is None else f"{text}\n\n{_BEHIND.format(ahead_at)}"


def stop(settings: Settings, force: bool) -> bool:
    """Stop everything in order, and return whether anything ran. `force`: even if the broker has no room to save its queues.

    Raises:
        ClientError: the system cannot be stopped; the text names cause and fix.
    """
    if not settings.data_dir.is_dir():
        return False
    with locked(settings.data_dir):
        return _stop(settings, possible_runtimes(settings), force)


def _stop(settings: Settings, runtimes: Iterable[Runtime], force: bool = False) -> bool:
    if not force:
        preflight.check_room_to_save(settings.data_dir)
    _epoch_file(settings).unlink(missing_ok=True)
    stopped = [runtime.stop() for runtime in runtimes]
    plant_time.end(settings, datetime.now(UTC), any(stopped))
    return any(stopped)


def _stop_earlier_release(settings: Settings, runtime: Runtime) -> None:
    """Stop a system whose code is not this checkout's, so that all of it starts as this release."""
    if runtime.running() and (change := upgrade.change(settings)) is not None:
        upgrade.check_room(settings)
        click.echo(f"upgrading {change}", err=True)
        if isinstance(runtime, Compose):
            runtime.build()  # takes minutes, and may fail: the release before runs on meanwhile
        _stop(settings, [runtime])


def _refuse_unfinished_restore(settings: Settings) -> None:
    if (folder := settings.data_dir / "restoring").exists():
        raise Failed(f"{folder} is left of a restore that was interrupted", "repeat `scaup restore FOLDER`")


def set_up_tls(settings: Settings, names: Sequence[str]) -> list[str]:
    """Make an authority and a certificate, also for `names`; a running broker serves it at once where it has TLS already.

    Returns sentences for the terminal.

    Raises:
        ClientError: it cannot be done; the text names cause and fix.
        InvalidSetting: a name cannot be in a certificate, or the certificate of SCAUP_TLS_CERT cannot be used.
    """
    preflight.check_disk(settings.data_dir)
    with locked(settings.data_dir):
        runtime = choose_runtime(settings)
        if isinstance(runtime, Compose):
            done = runtime.make_certificate("init", *(word for name in names for word in ("--name", name)))
        else:
            done = security.make(settings, names)
            runtime.reload_broker()
        return [*done, *_next(settings, runtime)]


def renew_certificate(settings: Settings) -> list[str]:
    """Replace the listeners' certificate, in a running broker without cutting clients; return sentences for the terminal.

    Raises:
        ClientError: it cannot be done; the text names cause and fix.
        InvalidSetting: there is no certificate, or that of SCAUP_TLS_CERT cannot be used.
    """
    preflight.check_disk(settings.data_dir)
    with locked(settings.data_dir):
        runtime = choose_runtime(settings)
        if isinstance(runtime, Compose):
            return runtime.make_certificate("renew")
        done = security.renew(settings)
        if runtime.reload_broker():
            done.append("the running broker serves it from now on")
        return done


def _next(settings: Settings, runtime: Runtime) -> list[str]:
    """Return what is left to do after a certificate was made."""
    if not runtime.running():
        return ["make up starts the listeners with it"]
    if isinstance(runtime, Native) and not runtime.has_other_broker_settings():
        return ["the running broker serves it"]
    return [f"make down up starts the listener for MQTT with TLS, on port {settings.mqtt_tls_port}"]


def is_up(settings: Settings) -> bool:
    """Return whether a system was started on the data directory and not stopped since."""
    return _epoch_file(settings).exists()


def places(settings: Settings) -> dict[str, str]:
    """Return where each program runs on this machine, by its name; empty where nothing was started.

    Raises:
        ClientError: the container engine does not answer.
    """
    settings = replace(settings, data_dir=settings.data_dir.resolve())
    native = _native(settings)
    if not is_up(settings):
        return {}
    if native.running():
        return native.places()
    return Compose(settings=settings, components=native.components).places() if shutil.which("docker") else {}


def possible_runtimes(settings: Settings) -> list[Runtime]:
    """Return the runtimes in which something may run."""
    native, wanted = _native(settings), _wanted()
    compose = Compose(settings=settings, components=native.components)
    if wanted is None:
        return [native, compose] if engine_answers() else [native]
    return [compose if wanted == DOCKER else native]


def engine_answers() -> bool:
    """Return whether a container engine with Compose answers within three seconds."""
    docker = shutil.which("docker")
    return docker is not None and all(_succeeds([docker, *words]) for words in (["info"], ["compose", "version"]))


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=3, check=False).returncode == 0  # noqa: S603
    except subprocess.TimeoutExpired:
        return False


def runs_in_containers(settings: Settings) -> bool:
    """Return whether the containers of `docker-compose.yml` run, and nothing runs natively on the data directory.

    Raises:
        ClientError: the container engine does not answer.
    """
    if shutil.which("docker") is None or _native(settings).running():
        return False
    return engine_answers() and compose(settings).running()


def wants_containers() -> bool:
    """Return whether RUNTIME asks for containers.

    Raises:
        WrongUsage: it is neither native nor docker.
    """
    return _wanted() == DOCKER


def compose(settings: Settings) -> Compose:
    """Return the container runtime."""
    return Compose(settings=settings, components=_native(settings).components)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Let only one `up` or `down` work on a data directory at a time; the lock ends with the process."""
    with (data_dir / "lifecycle.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another make up or make down is running here: waiting for it", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def choose_runtime(settings: Settings) -> Runtime:
    """Choose where to start the system: as RUNTIME is set, where it runs already, in an engine that answers, or natively."""
    native, wanted = _native(settings), _wanted()
    here = wanted is None and own_broker(settings) and not native.running()
    if wanted == DOCKER or (here and engine_answers()):
        return Compose(settings=settings, components=native.components)
    return native


def _native(settings: Settings) -> Native:
    known = components()
    preflight.check_components(settings.components, known)
    return Native(settings=settings, declarations={**known, OPERATOR.name: OPERATOR}, components=chosen(settings))


def _wanted() -> str | None:
    wanted = os.environ.get("RUNTIME", "").strip() or None
    if wanted not in (None, NATIVE, DOCKER):
        raise WrongUsage(f"RUNTIME must be native or docker, not {wanted!r}", "or leave it out")
    return wanted


def _environment(settings: Settings, runtime: Runtime) -> Mapping[str, str]:
    """Return the variables of every component: those that were given, what else is started, and the same plant time for all."""
    given = {name: value for name, value in settings.environment.items() if name != "SCAUP_MQTT_PASSWORD"}
    given.setdefault("SCAUP_TIME_SCALE", TIME_SCALE)
    given.setdefault(HISTORY_DAYS.name, DAYS_OF_HISTORY)
    given["SCAUP_COMPONENTS"] = ",".join(_native(settings).components)
    epoch = _epoch(settings, runtime.running(), float(given["SCAUP_TIME_SCALE"].strip() or 1))
    if settings.plant_epoch is None:
        given["SCAUP_PLANT_EPOCH"] = epoch
    return {**given, "SCAUP_DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1"}


def _epoch(settings: Settings, running: bool, scale: float) -> str:
    """Return when plant time and wall time are the same: as before if the system runs already, else see `plant_time`."""
    path = _epoch_file(settings)
    if not running or not path.is_file():
        epoch = plant_time.begin(settings, scale, datetime.now(UTC), settings.plant_epoch)
        path.write_text(epoch.isoformat(timespec="microseconds") + "\n")
    return path.read_text().strip()


def _epoch_file(settings: Settings) -> Path:
    return settings.data_dir / "plant-epoch"
