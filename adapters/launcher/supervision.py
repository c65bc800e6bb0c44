"""The process supervisor: its files, its configuration as text, and its control socket."""

import hashlib
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from adapters.launcher.orphans import BROKER, COMPONENTS, FORWARDER, GUARDIAN, RECORDER
from broker.errors import NOT_ALLOWED_EXIT, TAKEN_OVER_EXIT

AUTOSTART = "_SCAUP_AUTOSTART"
"""Environment variable of the supervisor: whether it starts components itself, or leaves that to `up`, group by group."""

LONGEST_SOCKET_PATH = 90
"""Bytes. A unix socket's path has room for 107 on Linux and 103 on macOS, and the supervisor appends its process id."""

_PRIORITIES = {BROKER: 1, FORWARDER: 2, RECORDER: 3, COMPONENTS: 4, GUARDIAN: 5}
"""The supervisor starts the lowest priority first and stops it last."""

_UP = ("STARTING", "RUNNING", "BACKOFF")
_STOP_WAIT_S = {BROKER: 30, FORWARDER: 40, RECORDER: 45, COMPONENTS: 10, GUARDIAN: 2}

_VARIABLE = re.compile(r'(?:^environment=|,)(\w+)="([^"]*)"', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program under the supervisor. `group` decides when it is stopped."""

    name: str
    command: tuple[str, ...]
    directory: Path
    group: str

    @property
    def process(self) -> str:
        """Its name at the supervisor."""
        return f"{self.group}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The files of one supervisor, all below the data directory except for a socket whose path would be too long."""

    data_dir: Path

    @property
    def configuration(self) -> Path:
        """The supervisor's configuration."""
        return self.data_dir / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        """Where the supervisor writes its process id."""
        return self.data_dir / "supervisord.pid"

    @property
    def logs(self) -> Path:
        """The folder of the logs, one file for each program."""
        return self.data_dir / "logs"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket; in a private folder for temporary files where its path would be too long."""
        inside = self.data_dir / "supervisor.sock"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"scaup-{os.getuid()}-{digest}" / "supervisor.sock"


def configuration(place: Place, programs: Iterable[Program], environment: Mapping[str, str]) -> str:
    """Return the supervisor's configuration; `environment` is set for every program."""
    listed = list(programs)
    groups = dict.fromkeys(each.group for each in listed)
    sections = [_daemon(place, environment), *(_program(place, each) for each in listed)]
    sections += [_group(name, [each.name for each in listed if each.group == name]) for name in groups]
    return "; Made by Scaup: changes here are lost.\n" + "\n".join(sections)


def changed_variables(before: str, after: str) -> list[str]:
    """Return the names of the variables whose values differ between two configurations."""
    old, new = (dict(_VARIABLE.findall(each)) for each in (before, after))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _daemon(place: Place, environment: Mapping[str, str]) -> str:
    variables = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(environment.items()))
    return f"""\
[unix_http_server]
file={_escaped(place.socket)}
chmod=0700

[supervisord]
logfile={_escaped(place.logs / "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=3
pidfile={_escaped(place.pid_file)}
childlogdir={_escaped(place.logs)}
nocleanup=true
umask=077
environment={variables}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{_escaped(place.socket)}
"""


def _program(place: Place, program: Program) -> str:
    """Return the section of one program. It is restarted whenever it ends, after a pause that grows with each failed start.

    Only a component that was taken over is not restarted: it would take over in turn, and two systems on one broker would push
    each other out for ever; nor one that may not run here. `exitcodes` has the exit codes without a restart; after a signal
    there always is one. Within `startsecs` the supervisor ignores them: a component that is taken over in its first second is
    started once more.
    """
    autostart = "true" if program.group in (BROKER, GUARDIAN) else f"%(ENV_{AUTOSTART})s"
    return f"""\
[program:{program.name}]
command={_escaped(shlex.join(program.command))}
directory={_escaped(program.directory)}
autostart={autostart}
autorestart=unexpected
exitcodes={TAKEN_OVER_EXIT},{NOT_ALLOWED_EXIT}
startsecs=1
startretries=1000
stopsignal=TERM
stopwaitsecs={_STOP_WAIT_S[program.group]}
redirect_stderr=true
stdout_logfile={_escaped(place.logs / program.name)}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=3
"""


def _group(name: str, programs: Iterable[str]) -> str:
    return f"[group:{name}]\nprograms={','.join(programs)}\npriority={_PRIORITIES[name]}\n"


def _escaped(value: object) -> str:
    """Escape a value: the supervisor expands `%(…)s`."""
    return str(value).replace("%", "%%")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """A program at the supervisor. `pid` is 0 where it does not run; `note` has since when it runs, or why it does not."""

    name: str
    state: str
    pid: int
    note: str

    @property
    def up(self) -> bool:
        """Whether it runs, or the supervisor is starting it."""
        return self.state in _UP


class Supervisor:
    """A supervisor, which may run or not; every call opens its control socket."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def answers(self) -> bool:
        """Return whether it runs and is not shutting down."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, Fault):
            return False

    def wait(self, limit_s: float) -> bool:
        """Wait until it answers; return whether it did in time."""
        deadline_s = time.monotonic() + limit_s
        while not (answers := self.answers()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return answers

    def processes(self) -> dict[str, ProcessInfo]:
        """Return every program by its name; nothing where the supervisor does not answer."""
        try:
            known = self._call("getAllProcessInfo")
        except (OSError, Fault):
            return {}
        return {
            each["name"]: ProcessInfo(
                name=each["name"],
                state=each["statename"],
                pid=each["pid"],
                note=each["spawnerr"] or each["description"],
            )
            for each in known
        }

    def start(self, process: str) -> None:
        """Start a program, given as `group:name`, without waiting for it. One that runs already stays as it is."""
        try:
            self._call("startProcess", process, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise

    def signal(self, process: str, name: str) -> None:
        """Send a signal to a program, given as `group:name`."""
        self._call("signalProcess", process, name)

    def shut_down(self) -> bool:
        """Let it stop all programs in order and then itself; return whether it answered."""
        try:
            self._call("shutdown")
        except (OSError, Fault):
            return False
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

        transport = SupervisorTransport(None, None, f"unix://{self._place.socket}")
        try:
            return getattr(ServerProxy("http://localhost", transport=transport).supervisor, method)(*arguments)
        except ProtocolError as error:
            raise OSError(error.errmsg) from error
        finally:
            transport.close()
