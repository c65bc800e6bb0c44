"""Preparing Mosquitto: find it, and write its configuration, access file and password file.

`mosquitto.conf` at the root is the one source of settings. With what depends on the machine it is rendered into
`{data}/broker/mosquitto.conf`, beside the access file and the password file that it names. The broker runs in the data
directory.
"""

import ipaddress
import os
import pwd
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from broker.errors import BusError
from broker.launch.access import DEVICE, access_file, with_declared
from broker.launch.accounts import locked, read_accounts
from broker.launch.configuration import Placement, render
from broker.launch.credentials import create_passwords, write_password_file, write_private
from broker.launch.declared import ACCESS, read_declared
from broker.launch.tls import certificate_files, certificate_users, has_authority, is_set_up, reach
from broker.runtime.client_id import keep_secrets
from broker.runtime.declaration import Declaration
from broker.runtime.settings import ROOT, Settings, read_password

OLDEST = (2, 0)
"""Oldest release that works: MQTT 5 with access rules that refuse by reason code."""

MOST_FILES = 65_536
"""Open files that are enough for full listeners on every address."""

CONFIGURATION = "broker/mosquitto.conf"
"""Path of the rendered configuration, relative to the data directory."""

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")
_FIRST_TO_CHECK_ORIGINS = (2, 1)


class BrokerUnusable(BusError):
    """Mosquitto is not installed, too old, or does not run; the text names the fix."""


def addresses(bind: Iterable[str], ipv6: bool) -> tuple[str, ...]:
    """Return the addresses to listen on: those of `bind`, and always both loopback addresses (::1 only with `ipv6`).

    Raises:
        InvalidSetting: a part of `bind` is not an IP address.
    """
    places = reach(bind, ipv6)
    return (*places.outside, *(each for each in places.loopback if _version(each) not in places.wildcards))


def version(text: str) -> tuple[int, ...]:
    """Read the release from the output of `mosquitto -h`; empty if there is none."""
    match = re.search(r"mosquitto version (\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def find() -> Path | None:
    """Return the path of Mosquitto on this machine, None if it is not installed."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which("mosquitto", path=os.pathsep.join([path, *_SYSTEM_FOLDERS]))
    return Path(found) if found else None


def require() -> Path:
    """Return the path of a Mosquitto that is new enough.

    Raises:
        BrokerUnusable: it is not installed, too old, or does not run.
    """
    return _require()[0]


def _require() -> tuple[Path, tuple[int, ...]]:
    found = find()
    if found is None:
        raise BrokerUnusable("mosquitto is not installed")
    try:
        output = subprocess.run([found, "-h"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - the path is that of `find`
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerUnusable(f"{found} does not run: {error}") from error
    release = version(output.stdout + output.stderr)
    if release < OLDEST:
        name = ".".join(map(str, release)) or "of unknown version"
        raise BrokerUnusable(f"{found} is mosquitto {name}: Scaup needs 2.0 or newer, install it or put it first in PATH")
    return found, release


def prepare(settings: Settings, declarations: Mapping[str, Declaration], placement: Placement) -> bool:
    """Write passwords, access file and configuration below the data directory.

    Returns whether anything changed, so that a running broker has to reload them (SIGHUP).

    Raises:
        OSError: the data directory cannot be written.
    """
    (settings.data_dir / "broker").mkdir(mode=0o700, parents=True, exist_ok=True)
    asks = not placement.anonymous or placement.tls_port is not None
    create_passwords(settings.data_dir, [*declarations, *([DEVICE] if asks else [])])
    keep_secrets(settings.data_dir, (name for each in declarations.values() for name in each.names))
    with locked(settings.data_dir):
        written = [
            write_logins(settings.data_dir, declarations),
            _replace(settings.data_dir / CONFIGURATION, configuration(placement)),
        ]
    return any(written)


def write_logins(data_dir: Path, declarations: Mapping[str, Declaration]) -> bool:
    """Write access file and password file, of components and accounts; return whether they had to change.

    Call it while the accounts are `locked`.

    Raises:
        AccountError: the accounts cannot be read.
        OSError: the data directory cannot be written.
    """
    accounts = read_accounts(data_dir)
    generated = {name: read_password(data_dir, name) for name in (*declarations, DEVICE)}
    passwords = {name: password for name, password in generated.items() if password is not None}
    hashes = {each.name: each.password_hash for each in accounts.values()}
    declared = read_declared(data_dir)
    text = access_file(declarations.values(), accounts.values(), certificate_users(data_dir))
    written = [
        _replace(data_dir / ACCESS, with_declared(text, declared.publishes, declared.reads)),
        write_password_file(data_dir / "broker" / "passwords", passwords, hashes),
    ]
    return any(written)


def configuration(placement: Placement) -> str:
    """Return the configuration for one machine, from the repository's `mosquitto.conf`."""
    return render((ROOT / "mosquitto.conf").read_text(), placement)


def native_placement(settings: Settings) -> Placement:
    """Return the placement of a broker that runs on this machine, for its current user.

    Raises:
        InvalidSetting: `SCAUP_BIND` is not a list of IP addresses.
        BrokerUnusable: there is no Mosquitto to ask for its release, which websockets need.
    """
    return replace(
        placement(settings, is_set_up(settings), has_authority(settings)),
        checks_origins=settings.mqtt_ws_port is not None and _require()[1] >= _FIRST_TO_CHECK_ORIGINS,
        certificate=certificate_files(settings) if settings.tls_cert else None,
        files=most_files(),
        user=pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None,
    )


def placement(settings: Settings, tls: bool, certificates: bool) -> Placement:
    """Return the ports and addresses of this machine. `tls`: with a certificate; `certificates`: with an authority for devices.

    Raises:
        InvalidSetting: `SCAUP_BIND` is not a list of IP addresses.
    """
    places = reach(settings.bind, has_ipv6())
    plaintext = settings.plaintext and bool(places.outside)
    return Placement(
        mqtt_port=settings.mqtt_port,
        ws_port=settings.mqtt_ws_port,
        tls_port=settings.mqtt_tls_port if tls else None,
        certificate_port=settings.mqtt_certificate_port if tls and certificates else None,
        wss_port=settings.mqtt_ws_port if places.outside and not plaintext else None,
        origins=settings.origins,
        reach=places,
        plaintext=plaintext,
        anonymous=not plaintext,
    )


def most_files() -> int:
    """Return how many files a broker started by this user may have open: its limit is raised to that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)


def has_ipv6() -> bool:
    """Return whether this machine has the loopback address ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _replace(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text() == text:
        return False
    write_private(path, text)
    return True
