"""This machine: Python, packages, Mosquitto, disk, ports."""

import ipaddress
import re
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from adapters.launcher.checks import Finding, failed, ok, warning
from broker.launch import mosquitto, tls
from broker.runtime.settings import Settings

OLDEST_PYTHON = (3, 11)
PACKAGES = ("click", "duckdb", "gmqtt", "msgspec", "orjson", "paho-mqtt", "pyarrow", "pytz", "rich")
DUCKDB_FROM, DUCKDB_BELOW = (1, 5, 5), (3,)
LEAST_FREE_MB, LITTLE_FREE_MB = 500, 2_000
_SETUP = "type `make setup`: it installs the pinned versions"


def check_machine(settings: Settings) -> list[Finding]:
    """Run the checks that do not need the broker."""
    return [
        python(sys.version_info[:3]),
        packages({name: installed(name) for name in PACKAGES}),
        mosquitto_binary(settings),
        disk(settings.data_dir, shutil.disk_usage(_existing(settings.data_dir)).free // 1024**2),
        *ports(settings),
    ]


def python(found: tuple[int, ...]) -> Finding:
    """Check the version of Python."""
    text = ".".join(map(str, found))
    if found < OLDEST_PYTHON:
        return failed("python", f"{text} is too old", "install Python 3.11 or newer, then type `make clean setup`")
    return ok("python", text)


def installed(name: str) -> str | None:
    """Return the version of an installed package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def packages(found: dict[str, str | None]) -> Finding:
    """Check that the packages are installed, and that DuckDB is a version that reads our files."""
    missing = [name for name, each in found.items() if each is None]
    if missing:
        return failed("packages", f"missing: {', '.join(missing)}", _SETUP)
    duckdb = numbers(found["duckdb"] or "")
    if not DUCKDB_FROM <= duckdb < DUCKDB_BELOW:
        return failed("packages", f"duckdb {found['duckdb']} is not from 1.5.5 up to 3", _SETUP)
    return ok("packages", ", ".join(f"{name} {each}" for name, each in found.items()))


def numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 0, 11) of "mosquitto version 2.0.11"."""
    match = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def mosquitto_binary(settings: Settings) -> Finding:
    """Check the broker's program. It may be missing where the broker runs in a container or elsewhere."""
    try:
        path = mosquitto.require()
    except mosquitto.BrokerUnusable as error:
        where = f"{settings.mqtt_host}:{settings.mqtt_port}"
        return warning(
            "mosquitto", str(error), f"needed only if the broker at {where} is to run natively: `make up` installs it"
        )
    return ok("mosquitto", str(path))


def disk(data_dir: Path, free_mb: int) -> Finding:
    """Check the free space where the data directory is."""
    detail = f"{free_mb:,} MiB free at {data_dir}"
    if free_mb < LEAST_FREE_MB:
        return failed("disk", detail, f"free at least {LEAST_FREE_MB} MiB, or choose another disk with SCAUP_DATA_DIR")
    if free_mb < LITTLE_FREE_MB:
        return warning("disk", detail, "free some space before the recorder has to stop")
    return ok("disk", detail)


def ports(settings: Settings) -> list[Finding]:
    """Check that programs listen on the broker's ports, and on no other addresses than SCAUP_BIND allows."""
    if not _is_here(settings.mqtt_host):
        return [ok("ports", f"the broker is on another machine, {settings.mqtt_host}")]
    try:
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    except psutil.Error as error:
        return [
            warning(
                "ports", f"this user may not see listening programs: {error}", "run `scaup doctor` as the user of `make up`"
            )
        ]
    found = []
    placement = mosquitto.placement(settings, tls=tls.is_set_up(settings), certificates=tls.has_authority(settings))
    expected = list(placement.listeners())
    for variable, port in dict.fromkeys((each.variable, each.port) for each in expected):
        listeners = [(str(each.laddr.ip), _program(each.pid)) for each in listening if each.laddr and each.laddr.port == port]
        found.append(listener(variable, port, listeners, [each.address for each in expected if each.port == port]))
    return found


def listener(variable: str, port: int, listeners: Iterable[tuple[str, str]], expected: Iterable[str | None]) -> Finding:
    """Check one port, given the addresses and programs that listen on it, and the addresses that should."""
    check, seen = f"port {port}", sorted(set(listeners))
    if not seen:
        return failed(check, "no program listens", f"start the broker with `make up`, or correct {variable}")
    detail = ", ".join(f"{address} by {program}" for address, program in seen)
    open_to_others = [address for address, _ in seen if not ipaddress.ip_address(address).is_loopback]
    if open_to_others and tls.only_loopback(each for each in expected if each):
        return failed(check, f"open to other machines: {detail}", "type `make down up`: listeners then follow SCAUP_BIND again")
    return ok(check, detail)


def _program(pid: int | None) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "a program of another user"
    except psutil.Error:
        return f"pid {pid}"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
