"""The container runtime: the services of `docker-compose.yml`."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError, Failed
from adapters.launcher import preflight, rollout
from adapters.launcher.orphans import BROKER, RECORDER
from adapters.launcher.registry import components
from adapters.launcher.runtime import own_broker
from broker.contract.components.topics import ComponentState
from broker.launch import mosquitto, tls
from broker.launch.credentials import write_private
from broker.runtime.settings import ROOT, Settings

FILE = ROOT / "docker-compose.yml"
SETUP = "setup"
BROKER_LIMIT_S = 30.0


def prepare_volume(settings: Settings) -> None:
    """Write accounts, access rules and the broker's configuration into the data directory of a container.

    The broker listens on every address of its container; the published ports decide what reaches it from outside.
    """
    anonymous = tls.only_loopback(settings.bind)
    declarations = {**components(), OPERATOR.name: OPERATOR}
    ws_port = mosquitto.WEBSOCKETS if settings.mqtt_ws_port else None
    mosquitto.prepare(settings, declarations, mosquitto.Placement(ws_port=ws_port, anonymous=anonymous))


def published_ports(settings: Settings, addresses: Iterable[str]) -> str:
    """Return a Compose file that publishes what `docker-compose.yml` does not (JSON is YAML).

    That file publishes MQTT on the first of `addresses`. The others are left, and MQTT over websockets where that is on.
    """
    hosts = [f"[{each}]" if ":" in each else each for each in addresses]
    published = [f"{host}:{settings.mqtt_port}:{mosquitto.MQTT}" for host in hosts[1:]]
    if settings.mqtt_ws_port:
        published += [f"{host}:{settings.mqtt_ws_port}:{mosquitto.WEBSOCKETS}" for host in hosts]
    return json.dumps({"services": {BROKER: {"ports": published}}}, indent=2) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """The system in containers. Its data is on the volume; the data directory has what `scaup` needs on this machine."""

    settings: Settings
    components: tuple[str, ...]

    @property
    def title(self) -> str:
        """How it runs, as part of a sentence."""
        return "in containers"

    def running(self) -> bool:
        """Return whether any container runs."""
        return bool(self._containers())

    def start(self, environment: Mapping[str, str]) -> None:
        """Build the image, start every service that does not run, and wait until all are healthy.

        Raises:
            ClientError: the system cannot start, or is not healthy in time; the text names cause and fix.
        """
        self._check()
        running = self._containers()
        if BROKER not in running:
            preflight.check_ports(self.settings)
            click.echo("building the image and starting the broker", err=True)
        self._write_ports()
        self._compose("build", "--quiet", SETUP, environment=environment)
        try:
            self._compose("up", "--detach", "--quiet-pull", SETUP, BROKER, environment=environment)
        except Failed:
            self._show(SETUP)
            raise
        self._fetch_account()
        before = self._wait_for_broker()
        missing = rollout.start_components(
            self.settings, self.components, before, lambda names: self._start_those_down(names, environment)
        )
        if missing:
            for name in missing:
                self._show(name)
            raise Failed(f"not online after {rollout.HEALTHY_LIMIT_S:.0f} s: {', '.join(missing)}", "the log above shows why")

    def stop(self) -> bool:
        """Stop and remove the containers, in order; the volume stays."""
        if not self._containers("--all"):
            return False
        click.echo("stopping the containers", err=True)
        self._compose("down", "--remove-orphans")
        return True

    def places(self) -> dict[str, str]:
        """Return where each program runs, a process or a container, by the program's name, the broker first."""
        containers = self._containers()
        return {name: containers.get(name, "no container") for name in (BROKER, *self.components)}

    @property
    def files(self) -> list[tuple[str, str]]:
        """What can be opened on this machine beside the addresses: a path or a command, and its purpose."""
        return [
            ("volume scaup_data", "the recording: scaup query"),
            ("docker compose logs", "what components log: scaup logs"),
        ]

    def logs(self, name: str | None, lines: int, follow: bool) -> None:
        """Write the logs of one service or of all to standard output."""
        words = ["logs", "--tail", str(lines), *(["--follow"] if follow else []), *([name] if name else [])]
        subprocess.run(self._command(words), check=False)  # noqa: S603 - the command is made here

    def run_with_folder(self, folder: Path, words: Sequence[str], read_only: bool) -> str:
        """Run `scaup` in a container of its own, with the volume and with a folder of this machine as /backup.

        Raises:
            Failed: it failed; the text has what it wrote.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mounted = f"{folder}:/backup{':ro' if read_only else ''}"
        first, *rest = words
        command = ("run", "--rm", "--no-deps", "-T", "--volume", mounted, RECORDER, "scaup", first, "/backup", *rest)
        try:
            return self._compose(*command)
        except Failed as error:
            fix = f"see the text above; user 1883 of the containers must be able to use {folder}: sudo chown 1883:1883 {folder}"
            raise Failed(error.message, fix) from error

    def _check(self) -> None:
        if shutil.which("docker") is None:
            raise Failed("docker is not installed", "install it, or use RUNTIME=native")
        if not own_broker(self.settings):
            raise Failed(
                f"docker-compose.yml has its own broker, but SCAUP_MQTT_HOST is {self.settings.mqtt_host}",
                "RUNTIME=native uses that broker",
            )

    def _write_ports(self) -> None:
        """Write the further ports to a file beside `docker-compose.yml`."""
        write_private(self._ports_file, published_ports(self.settings, self._addresses))

    @property
    def _ports_file(self) -> Path:
        return self.settings.data_dir / "compose.ports.json"

    @property
    def _addresses(self) -> tuple[str, ...]:
        return mosquitto.addresses(self.settings.bind, mosquitto.has_ipv6())

    def _fetch_account(self) -> None:
        """Copy the operator's password to this machine, for its `scaup`."""
        password = self._compose("exec", "-T", BROKER, "cat", f"credentials/{OPERATOR.name}")
        folder = self.settings.data_dir / "credentials"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(folder / OPERATOR.name, password)

    def _wait_for_broker(self) -> dict[str, ComponentState]:
        try:
            return rollout.wait_for_broker(self.settings.broker_address(OPERATOR.name), BROKER_LIMIT_S)
        except ClientError:
            self._show(BROKER)
            raise

    def _start_those_down(self, names: list[str], environment: Mapping[str, str]) -> list[str]:
        running = self._containers()
        down = [name for name in names if name not in running]
        if down:
            click.echo(f"starting {', '.join(down)}", err=True)
        if names:
            self._compose("up", "--detach", "--no-build", "--no-deps", *names, environment=environment)
        return down

    def _containers(self, *options: str) -> dict[str, str]:
        """Return the name of the container of every service that runs."""
        text = self._compose("ps", *options, "--format", "json").strip()
        # An array until Compose 2.20, one object a line since.
        found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        return {each["Service"]: each["Name"] for each in found}

    def _show(self, name: str) -> None:
        click.echo(self._compose("logs", "--no-color", "--tail", str(rollout.LAST_LINES), name), err=True)

    def _compose(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        command = self._command(words)
        variables = {**os.environ, **(environment or {}), "SCAUP_BIND": self._addresses[0], **self._outside()}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise Failed(f"docker compose {words[0]} failed:\n{(done.stderr or done.stdout).strip()}", "see the text above")
        return done.stdout

    def _outside(self) -> dict[str, str]:
        """Return settings that `docker-compose.yml` passes on, which are known outside the containers only."""
        names = [socket.gethostname(), *self.settings.host_names]
        return {"SCAUP_MQTT_PORT": str(self.settings.mqtt_port), "SCAUP_HOST_NAMES": ",".join(names)}

    def _command(self, words: Iterable[str]) -> list[str]:
        files = ["--file", str(FILE)]
        if self._ports_file.is_file():
            files += ["--file", str(self._ports_file)]
        return [shutil.which("docker") or "docker", "compose", *files, *words]
