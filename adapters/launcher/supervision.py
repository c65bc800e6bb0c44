"""The configuration of the process supervisor, as text. Nothing here touches a file or a process."""

import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.launcher.orphans import BROKER, COMPONENTS, GUARDIAN, RECORDER
from broker.errors import TAKEN_OVER_EXIT

AUTOSTART = "_SCAUP_AUTOSTART"
"""Environment variable of the supervisor: whether it starts components by itself or `up` does, one group after the other."""

LONGEST_SOCKET_PATH = 90
"""Bytes. A unix socket's path has room for 107 on Linux and 103 on macOS, and the supervisor appends its process id."""

_PRIORITIES = {BROKER: 1, RECORDER: 2, COMPONENTS: 3, GUARDIAN: 4}
"""The supervisor starts the lowest first and stops it last."""

_STOP_WAIT_S = {BROKER: 30, RECORDER: 30, COMPONENTS: 10, GUARDIAN: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program under the supervisor. `group` decides when it is stopped."""

    name: str
    command: tuple[str, ...]
    directory: Path
    group: str

    @property
    def process(self) -> str:
        """The supervisor's name for it."""
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
    """Restarted whenever it ends; the wait before it grows by a second with each start that fails at once, never giving up.

    Only one whose place was taken is left alone: started again it would be the later one, and two systems on one broker would
    push each other out for ever. `exitcodes` names what is expected and so not restarted; a signal never is. The supervisor
    does not look at them within `startsecs`: one that gives way in its first second is started once more.
    """
    by_itself = "true" if program.group in (BROKER, GUARDIAN) else f"%(ENV_{AUTOSTART})s"
    return f"""\
[program:{program.name}]
command={_escaped(shlex.join(program.command))}
directory={_escaped(program.directory)}
autostart={by_itself}
autorestart=unexpected
exitcodes={TAKEN_OVER_EXIT}
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
    """The supervisor expands `%(…)s` in every value."""
    return str(value).replace("%", "%%")
