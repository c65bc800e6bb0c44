"""A real Mosquitto for system tests, with the configuration, access file and passwords that `make up` would give it."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from adapters.client.declaration import OPERATOR
from adapters.launcher.registry import components
from broker.launch import certificates, mosquitto
from broker.launch.configuration import CERTIFICATES, MQTT, TLS, WEBSOCKETS, Placement
from broker.runtime.declaration import Declaration
from broker.runtime.settings import Settings

IMAGE = "eclipse-mosquitto:2"
START_TIMEOUT_S = 20.0


class Process(Protocol):
    """A process or container that runs the broker."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def reload(self) -> None: ...
    def log(self) -> str: ...


@dataclass
class RealBroker:
    """A broker that listens on 127.0.0.1 (and ::1). Every component and the operator have their generated account."""

    settings: Settings
    declarations: dict[str, Declaration]
    process: Process

    @property
    def host(self) -> str:
        return self.settings.mqtt_host

    @property
    def port(self) -> int:
        return self.settings.mqtt_port

    @property
    def ws_port(self) -> int:
        assert self.settings.mqtt_ws_port is not None, "this broker was made without websockets"
        return self.settings.mqtt_ws_port

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @property
    def environment(self) -> dict[str, str]:
        """Environment for a component in its own process."""
        return {**os.environ, **self.settings.environment}

    def start(self) -> None:
        self.process.start()
        if not answers(self.host, self.port):
            pytest.fail(f"the broker at {self.host}:{self.port} does not answer; its log:\n{self.process.log()}")

    def stop(self) -> None:
        """Stop as `make down` does: with SIGTERM, the broker saves everything."""
        self.process.stop()

    def kill(self) -> None:
        """Send SIGKILL: everything not yet saved is lost."""
        self.process.kill()

    def reload(self) -> None:
        """Send SIGHUP: the broker reads accounts, access rules and certificates again."""
        self.process.reload()

    def restart(self) -> None:
        """Stop, if it runs, and restart on the same ports with everything it saved."""
        self.stop()
        self.start()


@dataclass
class LocalMosquitto:
    """The `mosquitto` of this machine."""

    data_dir: Path
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with (self.data_dir / "mosquitto.log").open("ab") as log:
            self._running = subprocess.Popen(
                [mosquitto.require(), "-c", mosquitto.CONFIGURATION], cwd=self.data_dir, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self._running is not None:
            self._running.terminate()
            self._reap()

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._reap()

    def reload(self) -> None:
        self.signal(signal.SIGHUP)

    @property
    def pid(self) -> int | None:
        return None if self._running is None else self._running.pid

    def signal(self, number: int) -> None:
        assert self._running is not None
        self._running.send_signal(number)

    def log(self) -> str:
        return (self.data_dir / "mosquitto.log").read_text()

    def _reap(self) -> None:
        assert self._running is not None
        self._running.wait(20)
        self._running = None


@dataclass
class MosquittoContainer:
    """The image of `docker-compose.yml`, with the data directory of the test inside."""

    data_dir: Path
    ports: dict[int, int]
    """The ports inside the container, with those on this machine."""
    _container: Any = field(default=None, init=False)

    def start(self) -> None:
        if self._container is None:
            self._container = self._create()
            self._container.start()
        else:
            self._container.get_wrapped_container().start()

    def stop(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        with suppress(Exception):
            self._container.get_wrapped_container().kill()

    def reload(self) -> None:
        self._container.get_wrapped_container().kill("SIGHUP")

    def log(self) -> str:
        return str(self._container.get_wrapped_container().logs().decode(errors="replace"))

    def remove(self) -> None:
        if self._container is not None:
            self._container.stop()

    def _create(self) -> Any:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(IMAGE, user=f"{os.getuid()}:{os.getgid()}", working_dir="/scaup")
        container.with_volume_mapping(str(self.data_dir), "/scaup", "rw")
        container.with_command(f"mosquitto -c {mosquitto.CONFIGURATION}")
        container.ports = {inside: ("127.0.0.1", port) for inside, port in self.ports.items()}  # type: ignore[misc]
        return container


def create(
    data_dir: Path, declarations: dict[str, Declaration] | None = None, websockets: bool = False, tls: bool = False
) -> RealBroker:
    """Prepare a broker on free ports, not started: in a container where an engine answers, else from the local binary.

    `SCAUP_TEST_BROKER=local` or `=container` decides instead.
    """
    names = ["SCAUP_MQTT_PORT", *(["SCAUP_MQTT_WS_PORT"] if websockets else [])]
    names += ["SCAUP_MQTT_TLS_PORT", "SCAUP_MQTT_CERTIFICATE_PORT"] if tls else []
    given = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    settings = Settings.load({**given, "SCAUP_DATA_DIR": str(data_dir)})
    if tls:
        certificates.ensure(settings)
    accounts = declarations or {**components(), OPERATOR.name: OPERATOR}
    where = os.environ.get("SCAUP_TEST_BROKER") or ("container" if engine_answers() else "local")
    if where == "container":
        user = "root" if os.getuid() == 0 else None  # else a broker started by root would give up its access to the files
        placement = Placement(
            user=user,
            ws_port=WEBSOCKETS if websockets else None,
            tls_port=TLS if tls else None,
            certificate_port=CERTIFICATES if tls else None,
        )
        mosquitto.prepare(settings, accounts, placement)
        ports = {MQTT: settings.mqtt_port, WEBSOCKETS: settings.mqtt_ws_port}
        ports |= {TLS: settings.mqtt_tls_port, CERTIFICATES: settings.mqtt_certificate_port} if tls else {}
        published = {inside: port for inside, port in ports.items() if port is not None}
        return RealBroker(settings, accounts, MosquittoContainer(data_dir, published))
    if mosquitto.find() is None:
        pytest.fail("system tests need a broker: apt-get install mosquitto, or a container engine that answers")
    mosquitto.prepare(settings, accounts, mosquitto.native_placement(settings))
    return RealBroker(settings, accounts, LocalMosquitto(data_dir))


def remove(broker: RealBroker) -> None:
    """Stop a broker for good."""
    if isinstance(broker.process, MosquittoContainer):
        broker.process.remove()
    else:
        broker.stop()


def own_ports() -> dict[str, str]:
    """Return settings with a free port for everything that listens, so that systems do not collide."""
    variables = ["SCAUP_MQTT_PORT", "SCAUP_MQTT_TLS_PORT", "SCAUP_MQTT_CERTIFICATE_PORT"]
    variables += [variable.name for each in components().values() for variable in each.listens]
    given = {name: str(port) for name, port in zip(variables, free_ports(len(variables)), strict=True)}
    return {**given, "SCAUP_TORQUE_DRIVER_URL": f"ws://127.0.0.1:{given['SCAUP_SIM_TORQUE_PORT']}"}


def free_ports(count: int) -> list[int]:
    """Return ports that are free now and that no other test process on this machine is given while this one needs them.

    They lie below the range that outgoing connections use. A UDP socket with the same number, which this process holds,
    reserves each: nothing in the tests uses UDP, and the system frees it when the process ends.
    """
    found: list[int] = []
    while len(found) < count:
        port = _random.choice(_PORTS)
        if _reserve(port):
            found.append(port)
    while len(_reservations) > _MAX_RESERVED:
        os.close(_reservations.popleft())
    return found


_PORTS = range(10_000, 16_000)
_random = random.SystemRandom()  # Hypothesis seeds the shared generator
_MAX_RESERVED = 256  # a test has ended long before its ports are the oldest of so many
_reservations: deque[int] = deque()
"""Descriptors of the sockets, oldest first; they are never closed otherwise."""


def _reserve(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as reservation:
        try:
            reservation.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            return False
        _reservations.append(reservation.detach())
    return True


def engine_answers() -> bool:
    """Return whether a container engine answers within three seconds."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=3, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def answers(host: str, port: int, timeout_s: float = START_TIMEOUT_S) -> bool:
    """Wait until a broker answers CONNECT; return whether it did in time."""
    # MQTT 5 CONNECT: clean start, keep alive 10 s, no properties, client id of the broker's choice.
    connect = bytes([0x10, 13, 0, 4, *b"MQTT", 5, 2, 0, 10, 0, 0, 0])
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        with suppress(OSError), socket.create_connection((host, port), timeout=1) as probe:
            probe.sendall(connect)
            if probe.recv(1) == b"\x20":
                return True
        time.sleep(0.05)
    return False
