"""Checks before anything is started or stopped: Python, disk, broker, ports. Every error names the fix."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
import psutil

from adapters.client.errors import Failed, WrongUsage
from broker.launch import mosquitto
from broker.launch.tls import has_authority, is_set_up, only_loopback, wants_tls
from broker.runtime.declaration import Declaration
from broker.runtime.settings import Settings, port_number

LEAST_FREE_BYTES = 500 * 1024 * 1024
OLDEST_PYTHON = (3, 11)

_INSTALL = {
    "apt-get": "sudo apt-get update && sudo apt-get install -y --no-install-recommends mosquitto mosquitto-clients",
    "dnf": "sudo dnf install -y mosquitto",
    "apk": "sudo apk add mosquitto mosquitto-clients",
    "pacman": "sudo pacman -S mosquitto",
    "zypper": "sudo zypper install mosquitto mosquitto-clients",
    "brew": "brew install mosquitto",
}
"""The command that installs the broker, by package manager."""

# Debian starts a service when it installs one, and at each boot: it would take port 1883 before Scaup's own broker. The first
# argument is the service, which is named like its package; the others are further packages.
_APT_SCRIPT = """
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq || true
apt-get install -y -qq --no-install-recommends "$@"
if command -v systemctl >/dev/null; then systemctl disable --now "$1" >/dev/null 2>&1 || true; fi
"""


def check_python() -> None:
    """Check the version of Python.

    Raises:
        Failed: it is too old.
    """
    if sys.version_info < OLDEST_PYTHON:
        here = ".".join(map(str, sys.version_info[:3]))
        raise Failed(f"Python {here} is too old: Scaup needs 3.11 or newer", "install one, then `make clean setup`")


def check_disk(data_dir: Path) -> None:
    """Check that the data directory can be written and has room.

    Raises:
        Failed: it cannot, or less than 500 MB are free.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(data_dir).free
    except OSError as error:
        raise Failed(f"{data_dir} cannot be made: {error.strerror}", "choose another place with SCAUP_DATA_DIR=…") from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise Failed(f"{data_dir} cannot be written by this user", "choose another place with SCAUP_DATA_DIR=…")
    if free < LEAST_FREE_BYTES:
        raise Failed(
            f"only {free // 1024**2} MB are free where {data_dir} is, {LEAST_FREE_BYTES // 1024**2} MB are needed",
            "free some space, or choose another disk with SCAUP_DATA_DIR=…",
        )


def check_room_to_save(data_dir: Path) -> None:
    """Check that the broker of this data directory, if it runs, can save all that it has in memory when it is stopped.

    Raises:
        Failed: free disk is less than its memory.
    """
    from adapters.launcher import orphans

    brokers = [each.process for each in orphans.find(orphans.mark_prefix(data_dir)) if each.group == orphans.BROKER]
    needed = sum(each.memory_info().rss for each in brokers)
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        raise Failed(
            f"only {free // 1024**2} MB are free: the broker could not save what is queued, up to {needed // 1024**2} MB of it",
            "free some space first; or lose what is queued with: scaup down --force",
        )


def check_components(wanted: Iterable[str], known: Mapping[str, Declaration]) -> None:
    """Check the names in `SCAUP_COMPONENTS`.

    Raises:
        WrongUsage: one of them is not the name of a component.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise WrongUsage(
            f"SCAUP_COMPONENTS names {', '.join(unknown)}: no such component", f"there are {', '.join(known) or 'none yet'}"
        )


def check_login(settings: Settings) -> None:
    """Check that no login is set for a broker that has generated accounts only.

    Raises:
        WrongUsage: a login is set.
    """
    if settings.mqtt_username is not None:
        raise WrongUsage(
            "SCAUP_MQTT_USERNAME is set, but `up` starts its own broker, with generated accounts",
            "unset it, or name the broker that has this account with SCAUP_MQTT_HOST",
        )


def check_broker_host(settings: Settings) -> None:
    """Check that clients on this machine reach its own broker on loopback, in plain text.

    Raises:
        WrongUsage: SCAUP_MQTT_HOST names an address that speaks TLS only, or SCAUP_MQTT_CA asks for TLS.
    """
    if settings.mqtt_ca is not None:
        raise WrongUsage(
            "SCAUP_MQTT_CA is set, but `up` starts its own broker, which components reach without TLS on this machine",
            "unset it, or name another machine's broker with SCAUP_MQTT_HOST",
        )
    if settings.mqtt_host != "localhost" and not only_loopback((settings.mqtt_host,)) and not settings.plaintext:
        raise WrongUsage(
            f"SCAUP_MQTT_HOST is this machine's address {settings.mqtt_host}, where its broker speaks TLS only",
            "leave it out: components use the broker on loopback",
        )


def check_ports(settings: Settings, components: Iterable[Declaration] = ()) -> None:
    """Check that the ports of the broker and of these components are free on every address that they will use.

    Raises:
        Failed: one is in use; the text names the program, if this user may know it.
        InvalidSetting: a component's port is no port.
    """
    has_tls = is_set_up(settings) or wants_tls(settings)
    for each in mosquitto.placement(settings, tls=has_tls, certificates=has_authority(settings)).listeners():
        _check_port(each.variable, each.address or "0.0.0.0", each.port)  # noqa: S104 - tried, not listened on
    for variable in (variable for each in components for variable in each.listens):
        for address in mosquitto.addresses(settings.bind, mosquitto.has_ipv6()):
            _check_port(variable.name, address, port_number(variable.name, settings.value(variable)))


def ensure_broker() -> Path:
    """Return the path of a Mosquitto that is new enough, after installing it where that works without a prompt.

    Raises:
        Failed: there is none and it could not be installed, or it is too old.
    """
    if mosquitto.find() is None:
        _install("mosquitto", "mosquitto-clients")
    try:
        return mosquitto.require()
    except mosquitto.BrokerUnusable as error:
        raise Failed(str(error), f"type: {install_command()}") from error


def ensure_prometheus() -> bool:
    """Return whether Prometheus is there, for tests, after installing it where that works without a prompt."""
    if shutil.which("promtool") is None:
        _install("prometheus")
    return shutil.which("promtool") is not None


def find_browser() -> str | None:
    """Return the path of a Chromium for tests of the page, None if there is none."""
    return next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


def ensure_browser() -> bool:
    """Return whether a Chromium is there, for tests, after installing it where that works without a prompt."""
    if find_browser() is None:
        _install("chromium")
    return find_browser() is not None


def find_postgres(program: str) -> str | None:
    """Return the path of a program of PostgreSQL's server, which Debian keeps off the search path; None if there is none."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(packaged[-1]) if packaged else shutil.which(program)


def ensure_postgres() -> bool:
    """Return whether PostgreSQL's server is there, for tests, after installing it where that works without a prompt."""
    if find_postgres("initdb") is None:
        _install("postgresql")
    return find_postgres("initdb") is not None


def install_command() -> str:
    """Return the command that installs the broker on this machine."""
    known = (command for program, command in _INSTALL.items() if shutil.which(program))
    return next(known, "install Mosquitto 2.0 or newer (https://mosquitto.org/download)")


def _install(*packages: str) -> None:
    administrator = _administrator()
    if administrator is None or shutil.which("apt-get") is None:
        return
    click.echo(f"{packages[0]} is not installed: installing it with apt-get", err=True)
    command = [*administrator, "sh", "-c", _APT_SCRIPT, "sh", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        click.echo(done.stdout + done.stderr, err=True)


def _administrator() -> list[str] | None:
    """Return the command prefix that runs a command as root without a prompt; None if there is none."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603
        return [sudo, "-n"]
    return None


def _check_port(variable: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise _port_error(error, variable, address, port) from error


def _port_error(error: OSError, variable: str, address: str, port: int) -> Failed:
    if error.errno == errno.EADDRINUSE:
        return Failed(f"port {port} is taken by {_owner(port)}", f"stop it, or choose another one with {variable}=… make up")
    if error.errno == errno.EADDRNOTAVAIL:
        return Failed(f"this machine has no address {address}", "correct SCAUP_BIND, or leave it out for this machine only")
    return Failed(f"port {port} on {address} cannot be used: {error.strerror}", f"choose another one with {variable}=… make up")


def _owner(port: int) -> str:
    unknown = f"a program of another user (`sudo ss -ltnp 'sport = :{port}'` shows which)"
    try:
        connections = psutil.net_connections("inet")
        pids = [each.pid for each in connections if each.status == psutil.CONN_LISTEN and each.laddr[1:2] == (port,)]
        pid = next((each for each in pids if each), None)
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else unknown
    except psutil.Error:
        return unknown
