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
import msgspec

from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError, Failed
from adapters.launcher import preflight, rollout, upgrade
from adapters.launcher.checks import Finding
from adapters.launcher.orphans import BROKER, RECORDER
from adapters.launcher.registry import components
from adapters.launcher.runtime import own_broker
from adapters.listening import outside_port
from broker.contract.components.topics import ComponentState
from broker.launch import mosquitto, tls
from broker.launch.configuration import CERTIFICATES, SECURE_WEBSOCKETS, TLS, WEBSOCKETS, Listener, Placement
from broker.launch.credentials import write_private
from broker.runtime.settings import ROOT, Settings, port_number, read_password

FILE = ROOT / "docker-compose.yml"
SETUP = "setup"
USER = 1883
"""The user id of the containers."""
BROKER_LIMIT_S = 30.0
BUILD_LINES = 25
"""Lines of a failed build in its error: Docker repeats the last ten of the step that failed."""
TAKEN = f"/data/{tls.FOLDER}/own.pem"
"""The certificate of SCAUP_TLS_CERT with its key, inside a container."""

NEIGHBOUR = "SCAUP_RESTORE_BROKER"
"""Variable of a container that restores: the configuration that the broker beside it waits for."""
_NO_ENGINE = "Cannot connect to the Docker daemon"
_RETAINED = "/data/restoring/retained.conf"
_RUN_WHILE_CONFIGURED = f"""
until [ -e {_RETAINED} ]; do sleep 0.1; done
mosquitto -c {_RETAINED} &
while [ -e {_RETAINED} ]; do sleep 0.1; done
kill $!; wait $!
"""
"""What the broker's container does during a restore; it saves its store when it is stopped."""


def prepare_volume(settings: Settings) -> None:
    """Write accounts, access rules, certificate and configuration of the broker into the data directory of a container.

    The broker listens on every address of its container; the published ports decide what reaches it from outside.
    """
    has_tls = tls.wants_tls(settings) or tls.is_set_up(settings)
    if has_tls:
        from broker.launch import certificates  # cryptography takes 50 ms to import

        for each in certificates.ensure(settings, of_host=False):
            click.echo(each, err=True)
    outside = not tls.only_loopback(settings.bind)
    placement = Placement(
        ws_port=WEBSOCKETS if settings.mqtt_ws_port else None,
        tls_port=TLS if has_tls else None,
        certificate_port=CERTIFICATES if has_tls and tls.has_authority(settings) else None,
        wss_port=SECURE_WEBSOCKETS if settings.mqtt_ws_port and outside and has_tls else None,
        anonymous=not (outside and settings.plaintext),
        certificate=tls.certificate_files(settings) if settings.tls_cert else None,
    )
    mosquitto.prepare(settings, {**components(), OPERATOR.name: OPERATOR}, placement)
    login = f"-u {OPERATOR.name}\n-P {read_password(settings.data_dir, OPERATOR.name)}\n"
    write_private(settings.data_dir / "broker" / "mosquitto_sub", login)  # options for the health check


def published_ports(settings: Settings, listeners: Iterable[Listener]) -> str:
    """Return a Compose file that publishes what `docker-compose.yml` does not (JSON is YAML).

    That file publishes on loopback what components listen on, and the first of the broker's `listeners`, in plain text. The
    others are left: each address and port of this machine leads to the port of the same kind in the container.
    """
    _, *others = listeners
    published = {BROKER: [f"{_bracketed(each.address or '')}:{each.port}:{each.kind}" for each in others]}
    for name, each in components().items():
        ports = [port_number(variable.name, settings.value(variable)) for variable in each.listens]
        outside = [f"{_bracketed(host)}:{port}:{outside_port(port)}" for host in _outside_hosts(settings) for port in ports]
        if outside and each.publishes_ports:
            published[name] = outside
    return json.dumps({"services": {name: {"ports": ports} for name, ports in published.items()}}, indent=2) + "\n"


def _outside_hosts(settings: Settings) -> list[str]:
    """Return this machine's addresses that `SCAUP_BIND` opens; a wildcard could not be published beside loopback."""
    if tls.only_loopback(settings.bind):
        return []
    from broker.launch import certificates  # cryptography takes 50 ms to import

    return list(certificates.outside_addresses(settings))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """The system in containers. Its data is on the volume; the data directory has what `scaup` needs on this machine."""

    settings: Settings
    components: tuple[str, ...]

    @property
    def title(self) -> str:
        """How it runs, as part of a sentence."""
        return "in containers"

    @property
    def has_tls(self) -> bool:
        """Whether its broker speaks TLS."""
        settings = self.settings
        return tls.has_authority(settings) or tls.wants_tls(settings) or settings.tls_cert is not None

    def running(self) -> bool:
        """Return whether any container runs."""
        return bool(self._containers())

    def start(self, environment: Mapping[str, str]) -> None:
        """Build the image, start every service that does not run, and wait until all are healthy.

        Raises:
            ClientError: the system cannot start, or is not healthy in time; the text names cause and fix.
        """
        self._check()
        self._make_folders()
        running = self._containers()
        broker_before = self._broker_id()
        if BROKER not in running:
            preflight.check_ports(self.settings)
            click.echo("building the image and starting the broker", err=True)
        self._write_ports()
        self._build(environment)
        if RECORDER in self.components and RECORDER not in running and upgrade.migrates(self.settings):
            self._migrate(environment)
        self._put_certificate()
        try:
            self._compose("up", "--detach", "--quiet-pull", SETUP, BROKER, environment=environment)
        except Failed:
            self._show(SETUP)
            raise
        if broker_before is not None and self._broker_id() == broker_before:
            # A new container has read the files, and must not get SIGHUP: Mosquitto 2.0 then ends the sessions that it has
            # restored and that are not connected yet, and later disconnects other clients in their place, every second.
            self.reload_broker()
        self._fetch_account()
        if tls.wants_tls(self.settings) or tls.has_authority(self.settings):
            self._fetch_authority()
        before = self._wait_for_broker()
        missing = rollout.start_components(
            self.settings, self.components, before, lambda names: self._start_those_down(names, environment)
        )
        if missing:
            for name in missing:
                self._show(name)
            raise Failed(f"not online after {rollout.HEALTHY_LIMIT_S:.0f} s: {', '.join(missing)}", "the log above shows why")

    def stop(self) -> bool:
        """Stop and remove the containers, in order, and the network that any of them made; the volume stays."""
        ran = bool(self._containers("--all"))
        if ran:
            click.echo("stopping the containers", err=True)
        self._compose("down", "--remove-orphans")
        return ran

    def build(self) -> None:
        """Build the image of this release, while another one may run.

        Raises:
            ClientError: it cannot be built.
        """
        self._check()
        self._build()

    def step(self, *words: str) -> str:
        """Run a step of `python -m adapters.launcher` on the volume, and return what it prints."""
        self.build()
        command = ("python", "-m", "adapters.launcher", *words)
        return self._compose("run", "--rm", "--no-deps", "-T", SETUP, *command)

    def change_account(self, change: str) -> str:
        """Change an account on the volume: by the release that runs, so that its access rules stay; return the outcome."""
        if RECORDER not in self._containers():
            return self.step("account", change)
        return self._step_in_recorder("account", change)

    def check_volume(self, names: Iterable[str]) -> list[Finding]:
        """Check the files on the volume and the sessions of the components `names`, in the recorder's container.

        Raises:
            Failed: that container does not run.
        """
        return msgspec.json.decode(self._step_in_recorder("check", *names), type=list[Finding])

    def _step_in_recorder(self, *words: str) -> str:
        return self._compose("exec", "-T", RECORDER, "python", "-m", "adapters.launcher", *words)

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

    def _build(self, environment: Mapping[str, str] | None = None) -> None:
        """Build the image; an error has the last lines of the step that failed."""
        try:
            self._compose("build", SETUP, environment=environment)
        except Failed as error:
            if _NO_ENGINE in error.message:
                raise
            fix = "see the text above; the build must reach the package indexes of Python and npm, and trust their certificates"
            raise Failed("\n".join(error.message.splitlines()[-BUILD_LINES:]), fix) from error

    def _migrate(self, environment: Mapping[str, str]) -> None:
        """Migrate the database on the volume, in a container of the new image."""
        command = ("run", "--rm", "--no-deps", "-T", RECORDER, "python", *upgrade.MIGRATE)
        try:
            self._compose(*command, environment=environment)
        except Failed as error:
            raise upgrade.failed(self.settings, error.message, 1) from error

    def restore(self, folder: Path) -> str:
        """Restore the backup in a folder of this machine into the volume; return what `scaup restore` wrote.

        The image of the components has no Mosquitto, which writes the store with the retained messages: the broker's does that.

        Raises:
            Failed: it failed, or the volume is not empty; the text has what it wrote.
        """
        self.build()
        self._compose("run", "--rm", "--no-deps", "-T", SETUP, "true")  # a new volume takes its owner from this image
        beside = self._compose("run", "--detach", "--no-deps", BROKER, "sh", "-c", _RUN_WHILE_CONFIGURED).split()[-1]
        try:
            return self.run_with_folder(folder, ["restore"], read_only=True, variables={NEIGHBOUR: _RETAINED})
        finally:
            command = [self._command(())[0], "rm", "--force", "--volumes", beside]
            subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the command is made here

    def run_with_folder(
        self, folder: Path, words: Sequence[str], read_only: bool, variables: Mapping[str, str] | None = None
    ) -> str:
        """Run `scaup` in a container of its own, with the volume and with a folder of this machine as /backup.

        Raises:
            Failed: it failed; the text has what it wrote.
        """
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            if os.geteuid() == 0:
                os.chown(folder, USER, USER)
        mounted = f"{folder}:/backup{':ro' if read_only else ''}"
        given = [f"--env={name}={value}" for name, value in (variables or {}).items()]
        first, *rest = words
        command = ("run", "--rm", "--no-deps", "-T", *given, "--volume", mounted, RECORDER, "scaup", first, "/backup", *rest)
        try:
            return self._compose(*command)
        except Failed as error:
            raise _as_seen_here(error.message, folder) from error

    def _check(self) -> None:
        if shutil.which("docker") is None:
            raise Failed("docker is not installed", "install it, or use RUNTIME=native")
        if not own_broker(self.settings):
            raise Failed(
                f"docker-compose.yml has its own broker, but SCAUP_MQTT_HOST is {self.settings.mqtt_host}",
                "RUNTIME=native uses that broker",
            )

    def _make_folders(self) -> None:
        """Make the folders of this machine that containers mount and that are not part of the repository."""
        for variable in [each for name in self.components for each in components()[name].variables if each.mount]:
            folder = ROOT / (self.settings.value(variable) or variable.shipped)
            try:
                if not folder.exists() and not self.settings.value(variable):
                    folder.mkdir(parents=True)
            except OSError as error:
                raise Failed(f"{folder} cannot be made: {error.strerror}", f"make it, or set {variable.name}") from error

    def reload_broker(self) -> bool:
        """Let the broker read accounts, access rules and certificates again; return whether it runs here."""
        if BROKER not in self._containers():
            return False
        self._compose("kill", "--signal", "HUP", BROKER)
        return True

    def make_certificate(self, *words: str) -> list[str]:
        """Make (`init`) or renew (`renew`) the certificate on the volume; return what was done, one sentence each."""
        self._put_certificate()
        done = self.step("certificate", *words).strip().splitlines()
        self._fetch_authority()
        self.reload_broker()
        return done

    def _put_certificate(self) -> None:
        """Copy the certificate of SCAUP_TLS_CERT with its key to the volume, where files of this machine cannot be read."""
        if self.settings.tls_cert is None:
            return
        files = tls.certificate_files(self.settings)
        tls.server_context(files)
        pem = files.key.read_text() + files.certificate.read_text()
        take = ("python", "-m", "adapters.launcher", "certificate", "take")
        self._compose("run", "--rm", "--no-deps", "-T", SETUP, *take, given=pem)

    def _fetch_authority(self) -> None:
        """Copy the authority's certificate to this machine, for its clients; report a new one."""
        words = ("run", "--rm", "--no-deps", "-T", SETUP, "sh", "-c", f"cat /data/{tls.AUTHORITY} 2>/dev/null || true")
        path = self.settings.data_dir / tls.AUTHORITY
        pem = self._compose(*words)
        if not pem or (path.is_file() and path.read_text() == pem):
            return
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(pem)
        click.echo(
            f"made a certificate authority; clients on other machines need {path} (SCAUP_MQTT_CA), and a login", err=True
        )

    def _write_ports(self) -> None:
        """Write the further ports to a file beside `docker-compose.yml`."""
        write_private(self._ports_file, published_ports(self.settings, self._listeners))

    @property
    def _ports_file(self) -> Path:
        return self.settings.data_dir / "compose.ports.json"

    @property
    def _addresses(self) -> tuple[str, ...]:
        return mosquitto.addresses(self.settings.bind, mosquitto.has_ipv6())

    @property
    def _listeners(self) -> list[Listener]:
        """The listeners as other programs see them, on this machine's addresses."""
        certificates = tls.has_authority(self.settings) or (self.has_tls and self.settings.tls_cert is None)
        return list(mosquitto.placement(self.settings, self.has_tls, certificates).listeners())

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
        return {each["Service"]: each["Name"] for each in self._listed(*options)}

    def _broker_id(self) -> str | None:
        """Return the id of the broker's container if it runs; a container that is created again has the same name."""
        return next((each["ID"] for each in self._listed() if each["Service"] == BROKER), None)

    def _listed(self, *options: str) -> list[dict[str, str]]:
        text = self._compose("ps", *options, "--format", "json").strip()
        # An array until Compose 2.20, one object a line since.
        found: list[dict[str, str]] = (
            json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        )
        return found

    def _show(self, name: str) -> None:
        click.echo(self._compose("logs", "--no-color", "--tail", str(rollout.LAST_LINES), name), err=True)

    def _compose(self, *words: str, environment: Mapping[str, str] | None = None, given: str | None = None) -> str:
        command = self._command(words)
        variables = {**os.environ, **(environment or {}), "SCAUP_BIND": self._addresses[0], **self._outside()}
        done = subprocess.run(command, env=variables, input=given, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            written = _written(done)
            fix = "start the container engine, or use RUNTIME=native" if _NO_ENGINE in written else "see the text above"
            raise Failed(f"docker compose {words[0]} failed:\n{written}", fix)
        return done.stdout

    def _outside(self) -> dict[str, str]:
        """Return settings that `docker-compose.yml` passes on, which are known outside the containers only."""
        names = [socket.gethostname(), *self.settings.host_names]
        if not tls.only_loopback(self.settings.bind):
            from broker.launch import certificates  # cryptography takes 50 ms to import

            names += certificates.outside_addresses(self.settings)
        own = {} if self.settings.tls_cert is None else {"SCAUP_TLS_CERT": TAKEN, "SCAUP_TLS_KEY": TAKEN}
        return {
            "SCAUP_MQTT_PORT": str(self.settings.mqtt_port),
            "SCAUP_MQTT_ADDRESS": self._listeners[0].address or "",
            "SCAUP_HOST_NAMES": ",".join(dict.fromkeys(names)),
            **own,
        }

    def _command(self, words: Iterable[str]) -> list[str]:
        files = ["--file", str(FILE)]
        if self._ports_file.is_file():
            files += ["--file", str(self._ports_file)]
        return [shutil.which("docker") or "docker", "compose", *files, *words]


def _as_seen_here(written: str, folder: Path) -> Failed:
    """Return the error of `scaup` in a container, with the fix for this machine."""
    _, _, own = written.rpartition("Error: ")
    message, _, fix = own.partition("\nFix: ")
    if "/data is not empty" in message:
        return Failed(
            "the volume scaup_data is not empty", "`docker volume rm scaup_data` removes it with everything recorded there"
        )
    if fix:
        return Failed(message.replace("/backup", str(folder)), fix.replace("/backup", str(folder)))
    return Failed(written, f"user {USER} of the containers must be able to use {folder}: sudo chown -R {USER}:{USER} {folder}")


def _written(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what a program wrote, errors last."""
    return "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
