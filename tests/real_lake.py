"""A real PostgreSQL and a real S3 server for tests of the lake, as processes of this machine in folders of their own."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.launcher import preflight
from tests.real_broker import free_ports

KEY, SECRET = "test-key", "test-secret"
CENTRAL = Path(sys.prefix) / "central"
_IDENTITIES = (
    '{"identities":[{"name":"lake","credentials":[{"accessKey":"%s","secretKey":"%s"}],'
    '"actions":["Admin","Read","Write","List","Tagging"]}]}'
)


def _unprivileged() -> dict[str, object]:
    """PostgreSQL does not run as root: return the arguments that start it as another user there."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam("nobody")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


@dataclass
class Postgres:
    """A PostgreSQL server. `kill` ends it as a power cut would."""

    port: int
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="scaup-pg-", dir="/tmp")))
    _running: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        who = _unprivileged()
        if who:
            os.chown(self.folder, int(str(who["user"])), int(str(who["group"])))
        command = [_program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **who)  # type: ignore[call-overload]
        hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(hba)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        command = [_program("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.folder]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_unprivileged())  # type: ignore[call-overload]
        ends_s = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < ends_s, (self.folder / "log").read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        command = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self) -> None:
        assert self._running
        self._running.kill()
        self._running.wait(10)
        time.sleep(0.2)  # its other processes end when they notice

    def stop(self) -> None:
        if self._running:
            self._running.send_signal(signal.SIGINT)
            self._running.wait(20)

    def sql(self, text: str, database: str = "lake", user: str = "postgres") -> str:
        """Run SQL and return what psql prints, fields separated by bars."""
        command = [
            _program("psql"),
            "-X",
            "-At",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            user,
            "-d",
            database,
            "-c",
            text,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Store:
    """SeaweedFS with its S3 gateway."""

    ports: list[int]
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="scaup-s3-", dir="/tmp")))
    _running: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        (self.folder / "s3.json").write_text(_IDENTITIES % (KEY, SECRET))
        command = [
            str(Path(sys.prefix) / "bin" / "weed"),
            "server",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]
        command += [f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}"]
        command += [f"-volume.port.grpc={volume_grpc}", "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"]
        command += ["-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={self.folder / 's3.json'}"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += ["-master.volumeSizeLimitMB=100", "-volume.max=30", "-master.telemetry=false"]
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        ends_s = time.monotonic() + 40
        while not self._answers():
            assert time.monotonic() < ends_s, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def kill(self) -> None:
        assert self._running
        self._running.kill()
        self._running.wait(10)

    def freeze(self, frozen: bool) -> None:
        assert self._running
        self._running.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def make_bucket(self, name: str) -> None:
        command = ["curl", "-sf", "-X", "PUT", "--user", f"{KEY}:{SECRET}", "--aws-sigv4", "aws:amz:us-east-1:s3"]
        for _ in range(50):  # the first seconds it has no volume yet
            if subprocess.run([*command, f"{self.endpoint}/{name}"], check=False).returncode == 0:
                return
            time.sleep(0.2)
        raise AssertionError("no bucket")

    def remove(self) -> None:
        if self._running and self._running.poll() is None:
            self.freeze(False)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Servers:
    """Both servers with an empty database and bucket `lake`."""

    postgres: Postgres
    store: Store

    @classmethod
    def started(cls) -> "Servers":
        ports = free_ports(9)
        servers = cls(Postgres(ports[8]), Store(ports[:8]))
        try:
            servers.postgres.start()
            servers.store.start()
            servers.postgres.sql("CREATE DATABASE lake", "postgres")
            servers.store.make_bucket("lake")
        except BaseException:
            servers.remove()
            raise
        return servers

    @property
    def variables(self) -> dict[str, str]:
        return {"PGPASSWORD": "any", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    @property
    def options(self) -> list[str]:
        catalog = f"postgresql://postgres@127.0.0.1:{self.postgres.port}/lake"
        return ["--catalog", catalog, "--store", "s3://lake/plants", "--endpoint", self.store.endpoint]

    def remove(self) -> None:
        self.postgres.remove()
        self.store.remove()


class Cutter:
    """Passes PostgreSQL on at a port of its own. `arm` lets the next commit of rows happen and its answer be lost."""

    def __init__(self, port: int) -> None:
        self._target, self.port, self.armed, self.cuts = port, free_ports(1)[0], False, 0
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Cutter":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def arm(self) -> None:
        self.armed = True

    def _accept(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        rows = False
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)
                    if ready is client:
                        rows = rows or b"ducklake_snapshot_changes" in data
                        if self.armed and rows and b"COMMIT" in data:
                            server.recv(65536)  # PostgreSQL has committed
                            self.armed, self.cuts = False, self.cuts + 1
                            return


def scaup(environment: Mapping[str, str], *arguments: str, code: int = 0) -> str:
    """Run a command and return its standard output; its exit code is `code`."""
    command = [str(Path(sys.prefix) / "bin" / "scaup"), *arguments]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _program(name: str) -> str:
    found = preflight.find_postgres(name)
    assert found, f"{name} is not installed: python -m adapters.launcher need-lake"
    return found
