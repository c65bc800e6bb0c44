"""A systemd unit that starts and stops this system, so that it is back after a reboot.

The unit runs what `make up` and `make down` do. The supervisor, or the container engine, restarts what dies meanwhile; systemd
only starts and stops the whole. It leaves the processes to them (`KillMode=process`): a start that fails because one component
is not healthy is repeated, and what runs is left alone.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.client.errors import Failed, WrongUsage
from broker.runtime.settings import ROOT, Settings

UNIT = "scaup.service"
SYSTEM_FOLDER = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""It exists where systemd is the first process (sd_booted(3))."""
LINGER = Path("/var/lib/systemd/linger")
START_LIMIT_S, STOP_LIMIT_S, RETRY_S = 300, 240, 30

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN")
_MADE_FOR = "# Made by `scaup service install` for "


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit.

    `environment` has the settings that it starts with, besides those of `.env`; `account` is the system account that runs it,
    None for that of the manager.
    """

    root: Path
    command: str
    account: str | None = None
    system: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> str:
        """Return the text of the unit file (systemd.service(5), systemd.exec(5))."""
        variables = "".join(f"Environment={_quoted(f'{name}={text}')}\n" for name, text in sorted(self.environment.items()))
        account = f"User={self.account}\n" if self.account else ""
        return f"""\
{_MADE_FOR}{self.root}: `scaup service remove` removes it.
[Unit]
Description=Scaup: MQTT backbone with a recorder
Documentation=file://{_path(self.root / "docs" / "operations.md")}
Wants=network-online.target
After=network-online.target docker.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={_path(self.root)}
{account}{variables}\
ExecStart={_quoted(self.command, in_command=True)} up
ExecStop={_quoted(self.command, in_command=True)} down
Restart=on-failure
RestartSec={RETRY_S}
TimeoutStartSec={START_LIMIT_S}
TimeoutStopSec={STOP_LIMIT_S}
KillMode=process

[Install]
WantedBy={"multi-user.target" if self.system else "default.target"}
"""


def unit(settings: Settings, system: bool) -> Unit:
    """Return the unit for this clone, with the settings of the present environment.

    Raises:
        WrongUsage: the environment has a password, which does not belong in a unit file.
    """
    given = {name: text for name, text in os.environ.items() if name.startswith("SCAUP_") or name == "RUNTIME"}
    if secret := next((name for name in given if _SECRET.search(name)), None):
        raise WrongUsage(f"{secret} is set, and everybody can read a unit file", f"write it into {ROOT / '.env'} instead")
    if "SCAUP_DATA_DIR" in given:
        given["SCAUP_DATA_DIR"] = str(settings.data_dir)
    owner = pwd.getpwuid(_owner(settings.data_dir)).pw_name
    account = owner if system and owner != "root" else None
    return Unit(root=ROOT, command=str(_command()), account=account, system=system, environment=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """The service manager: of the system, or of the present user."""

    system: bool
    folder: Path

    @classmethod
    def find(cls, system: bool) -> "Systemd":
        """Return it.

        Raises:
            Failed: systemd does not run on this machine.
            WrongUsage: only root may use that of the system.
        """
        if shutil.which("systemctl") is None or not BOOTED.is_dir():
            fix = "start `make up` from what starts programs here, such as cron's @reboot; --print shows the unit"
            raise Failed("systemd does not run on this machine", fix)
        if system and os.geteuid() != 0:
            raise WrongUsage("only root can install a service of the system", "use sudo, or --user")
        found = cls(system=system, folder=SYSTEM_FOLDER if system else user_folder())
        if not system and found._call("show", "--property=Version").returncode != 0:
            name = pwd.getpwuid(os.geteuid()).pw_name
            fix = f"log in as {name} (not with su or sudo), or type `sudo loginctl enable-linger {name}`, or use --system"
            raise Failed(f"the service manager of the user {name} does not run", fix)
        return found

    @property
    def path(self) -> Path:
        """The unit file."""
        return self.folder / UNIT

    def install(self, wanted: Unit) -> list[str]:
        """Write the unit, and let systemd start it now and at each boot; return a report, a line each.

        Raises:
            Failed: the unit of another clone is there, it cannot be written, or systemd refuses.
        """
        self._refuse_that_of_another(wanted.root)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text(wanted.render())
        except OSError as error:
            raise Failed(f"{self.path} cannot be written: {error.strerror}", "use sudo, or --user") from error
        return [f"wrote {self.path}", *self._run("daemon-reload"), *self._run("enable", "--now", UNIT), *self._hints()]

    def remove(self) -> list[str]:
        """Stop what the unit started, and remove it; return a report, nothing where there is none.

        Raises:
            Failed: it is the unit of another clone, or systemd refuses.
        """
        if not self.path.exists():
            return []
        self._refuse_that_of_another(ROOT)
        done = self._run("disable", "--now", UNIT)
        self.path.unlink()
        return [*done, f"removed {self.path}", *self._run("daemon-reload")]

    def _refuse_that_of_another(self, root: Path) -> None:
        if self.path.exists() and not self.path.read_text().startswith(f"{_MADE_FOR}{root}:"):
            raise Failed(
                f"{self.path} is not of this clone", f"remove it with `scaup service remove` of its clone, or {self.path}"
            )

    def _run(self, *words: str) -> list[str]:
        done = self._call(*words)
        line = " ".join(done.args)
        if done.returncode != 0:
            raise Failed(f"{line} failed: {(done.stderr or done.stdout).strip()}", f"see `journalctl {self._scope}-u {UNIT}`")
        return [f"ran {line}"]

    def _call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = ["systemctl", *([] if self.system else ["--user"]), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the command is made here

    @property
    def _scope(self) -> str:
        return "" if self.system else "--user "

    def _hints(self) -> list[str]:
        name = pwd.getpwuid(os.geteuid()).pw_name
        if self.system or (LINGER / name).exists():
            return []
        return [f"it starts when you log in: `sudo loginctl enable-linger {name}` lets it start at boot"]


def user_folder() -> Path:
    """Return the folder of the present user's units."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _command() -> Path:
    beside = Path(sys.executable).with_name("scaup")
    found = beside if beside.exists() else shutil.which("scaup")
    if found is None:
        raise Failed("there is no command scaup", "type `make setup`")
    return Path(found)


def _owner(data_dir: Path) -> int:
    return (data_dir if data_dir.exists() else ROOT).stat().st_uid


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(text: str, in_command: bool = False) -> str:
    """Quote a word for a unit file: `%` begins a specifier, and in a command `$` a variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return '"' + (escaped.replace("$", "$$") if in_command else escaped) + '"'
