"""The native runtime: broker and components as processes of this machine, under a supervisor that restarts them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError, Failed, WrongUsage
from adapters.launcher import guardian, logfiles, orphans, preflight, rollout, supervision, upgrade
from adapters.launcher.orphans import BROKER, COMPONENTS, FORWARDER, GUARDIAN, RECORDER
from adapters.launcher.registry import package_of
from adapters.launcher.runtime import own_broker, short
from adapters.launcher.supervision import Place, ProcessInfo, Program, Supervisor
from broker.contract.components.topics import ComponentState
from broker.launch import mosquitto
from broker.launch.credentials import write_private
from broker.launch.tls import is_set_up
from broker.runtime.declaration import Declaration
from broker.runtime.settings import ROOT, Settings

SUPERVISOR_LIMIT_S = 10.0
BROKER_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """One system on one data directory.

    `declarations` are those of every component and of the operator, `components` the names of those to start.
    """

    settings: Settings
    declarations: Mapping[str, Declaration]
    components: tuple[str, ...]

    @property
    def place(self) -> Place:
        """The supervisor's files."""
        return Place(data_dir=self.settings.data_dir)

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor, running or not."""
        return Supervisor(self.place)

    @property
    def title(self) -> str:
        """How it runs, as part of a sentence."""
        return "natively, under a supervisor"

    @property
    def has_tls(self) -> bool:
        """Whether its broker speaks TLS."""
        return own_broker(self.settings) and is_set_up(self.settings)

    def running(self) -> bool:
        """Return whether the supervisor answers."""
        return self.supervisor.answers()

    def start(self, environment: Mapping[str, str]) -> None:
        """Start everything that does not run, with these variables, and wait until it is healthy.

        Raises:
            ClientError: the system cannot start, or is not healthy in time; the text names cause and fix.
        """
        if own_broker(self.settings):
            preflight.check_login(self.settings)
            preflight.check_broker_host(self.settings)
            preflight.ensure_broker()
        text = supervision.configuration(self.place, self.programs(), environment)
        if self.supervisor.answers():
            self._refresh(text)
        else:
            self._launch(text)
        before = self._wait_for_broker()
        if missing := rollout.start_components(self.settings, self.components, before, self._start_those_down):
            self._not_healthy(missing)

    def stop(self) -> bool:
        """Stop everything, cleanly and in order; return whether anything ran."""
        prefix = orphans.mark_prefix(self.settings.data_dir)
        running = orphans.find(prefix)
        if running:
            click.echo(f"stopping {len(running)} processes", err=True)
        if self.supervisor.shut_down():
            supervisors = [each.process for each in running if each.group == orphans.SUPERVISOR]
            orphans.wait(supervisors, sum(limit_s for _, limit_s in orphans.STOP_ORDER))
        orphans.stop(prefix)
        for leftover in (self.place.socket, self.place.pid_file):
            leftover.unlink(missing_ok=True)
        if self.place.socket.parent != self.settings.data_dir and self.place.socket.parent.is_dir():
            self.place.socket.parent.rmdir()
        return bool(running)

    def reload_broker(self) -> bool:
        """Let the broker read accounts, access rules and certificates again; return whether it runs here."""
        name = f"{BROKER}:{BROKER}"
        if not own_broker(self.settings) or BROKER not in (known := self.supervisor.processes()) or not known[BROKER].up:
            return False
        self.supervisor.signal(name, "HUP")
        return True

    def places(self) -> dict[str, str]:
        """Return where each program runs, a process or a container, by the program's name, the broker first."""
        known = self.supervisor.processes()
        names = [BROKER] * own_broker(self.settings) + [*self.components]
        return {name: f"pid {known[name].pid}" if name in known and known[name].pid else "not running" for name in names}

    @property
    def files(self) -> list[tuple[str, str]]:
        """What can be opened on this machine beside the addresses: a path or a command, and its purpose."""
        return [
            (short(self.settings.database), "the recording: scaup query"),
            (short(self.place.logs), "what components log: scaup logs"),
        ]

    def logs(self, name: str | None, lines: int, follow: bool) -> None:
        """Write the logs of one program or of all to standard output.

        Raises:
            WrongUsage: there is no such program.
        """
        files = {path.stem: path for path in sorted(self.place.logs.glob("*.log"))}
        if name is not None and name not in files:
            raise WrongUsage(f"{name} has logged nothing here", f"there are logs of {', '.join(files) or 'nothing yet'}")
        logfiles.show({name: files[name]} if name else files, lines, follow, click.echo)

    def programs(self) -> list[Program]:
        """Return what the supervisor runs, the broker first."""
        programs = [_component(name) for name in self.components]
        if own_broker(self.settings):
            command = (str(mosquitto.find() or "mosquitto"), "-c", mosquitto.CONFIGURATION)
            programs.insert(0, Program(name=BROKER, command=command, directory=self.settings.data_dir, group=BROKER))
        watch = (sys.executable, "-m", "adapters.launcher.guardian", str(self.place.configuration))
        return [*programs, Program(name=GUARDIAN, command=watch, directory=ROOT, group=GUARDIAN)]

    def last_lines(self, name: str) -> list[str]:
        """Return the end of a program's log."""
        path = self.place.logs / f"{name}.log"
        return path.read_text(errors="replace").splitlines()[-rollout.LAST_LINES :] if path.is_file() else []

    def _launch(self, text: str) -> None:
        orphans.stop(orphans.mark_prefix(self.settings.data_dir))
        if RECORDER in self.components and upgrade.migrates(self.settings):
            self._migrate()
        if own_broker(self.settings):
            preflight.check_ports(self.settings, (self.declarations[name] for name in self.components))
            mosquitto.prepare(self.settings, self.declarations, mosquitto.native_placement(self.settings))
        self.place.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(self.place.socket.parent, self.settings.data_dir)
        write_private(self.place.configuration, text)
        click.echo("starting the broker" if own_broker(self.settings) else "starting", err=True)
        try:
            guardian.start_supervisor(self.place.configuration, orphans.new_mark(self.settings.data_dir), autostart=False)
        except (subprocess.SubprocessError, OSError) as error:
            fix = f"see {self.place.logs}/supervisord.log"
            raise Failed(f"the supervisor does not start: {guardian.reason(error)}", fix) from error
        if not self.supervisor.wait(SUPERVISOR_LIMIT_S):
            raise Failed("the supervisor does not answer", f"see {self.place.logs}/supervisord.log")

    def _migrate(self) -> None:
        environment = {**os.environ, "SCAUP_DATA_DIR": str(self.settings.data_dir)}
        command = [sys.executable, *upgrade.MIGRATE]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise upgrade.failed(self.settings, done.stdout, done.returncode)

    def _refresh(self, text: str) -> None:
        """Update a running system where that needs no restart: accounts and access rules."""
        running = self.place.configuration.read_text()
        if text != running or self.has_other_broker_settings():
            changed = ", ".join(supervision.changed_variables(running, text))
            which = f" ({changed})" if changed else ""
            raise Failed(f"Scaup runs already, with other settings{which}", "make down, then make up again")
        if own_broker(self.settings):
            mosquitto.prepare(self.settings, self.declarations, mosquitto.native_placement(self.settings))
            self.reload_broker()

    def has_other_broker_settings(self) -> bool:
        """Return whether the broker's configuration would change if everything was started now."""
        wanted = mosquitto.configuration(mosquitto.native_placement(self.settings))
        return own_broker(self.settings) and wanted != (self.settings.data_dir / mosquitto.CONFIGURATION).read_text()

    def _wait_for_broker(self) -> dict[str, ComponentState]:
        try:
            return rollout.wait_for_broker(self.settings.broker_address(OPERATOR.name), BROKER_LIMIT_S)
        except ClientError as error:
            if own_broker(self.settings):
                self._show(BROKER)
            raise Failed(f"the broker is not healthy: {error.message}", error.fix or "make logs shows more") from error

    def _start_those_down(self, names: list[str]) -> list[str]:
        known = self.supervisor.processes()
        down = [name for name in names if name not in known or not known[name].up]
        if down:
            click.echo(f"starting {', '.join(down)}", err=True)
        for name in down:
            self.supervisor.start(f"{_group(name)}:{name}")
        return down

    def _not_healthy(self, missing: list[str]) -> None:
        for name in missing:
            self._show(name)
        raise Failed(
            f"not online after {rollout.HEALTHY_LIMIT_S:.0f} s: {', '.join(missing)}",
            f"the log above shows why ({self.place.logs} has all of it); make down stops what runs",
        )

    def _show(self, name: str) -> None:
        state = self.supervisor.processes().get(name, ProcessInfo(name=name, state="unknown", pid=0, note=""))
        click.echo(f"{name}: {state.state} {state.note}\n  " + "\n  ".join(self.last_lines(name)), err=True)


def _component(name: str) -> Program:
    return Program(name=name, command=(sys.executable, "-m", package_of(name)), directory=ROOT, group=_group(name))


def _group(name: str) -> str:
    return name if name in (RECORDER, FORWARDER) else COMPONENTS


def _make_private(folder: Path, data_dir: Path) -> None:
    """Make the folder of the control socket where it is not the data directory; it must belong to this user."""
    if folder == data_dir:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Failed(f"{folder} belongs to another user", "remove it, or choose a shorter SCAUP_DATA_DIR")
