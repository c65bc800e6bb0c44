"""The data directory: its permissions, and whether the generated files match the declarations."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from adapters.launcher.checks import Finding, failed, ok, warning
from broker.launch import mosquitto
from broker.launch.access import access_file, with_declared
from broker.launch.accounts import AccountError, read_accounts
from broker.launch.declared import read_declared
from broker.launch.tls import certificate_users
from broker.runtime.declaration import Declaration

_MAKE_UP = "type `make up`: it makes what is missing, and changes nothing else"
_NEEDED = ("persistence true", "max_queued_messages ", "max_inflight_messages ", "acl_file ", "password_file ")


def check_data_dir(path: Path, declarations: Mapping[str, Declaration]) -> list[Finding]:
    """Check permissions, and that accounts, access rules and configuration are up to date."""
    if not path.is_dir():
        return [failed("data directory", f"there is no {path}", _MAKE_UP)]
    return [directory(path), secrets(path), accounts(path, declarations), access(path, declarations), configuration(path)]


def directory(path: Path) -> Finding:
    """Check that this user can write the data directory, and that other users cannot."""
    if not os.access(path, os.W_OK | os.X_OK):
        return failed("data directory", f"{path} cannot be written by this user", f"chown it: chown -R $(id -u) {path}")
    if path.stat().st_mode & stat.S_IWOTH:
        return failed("data directory", f"every user may write {path}", f"chmod o-w {path}")
    return ok("data directory", str(path))


def secrets(path: Path) -> Finding:
    """Check that only their owner can read the passwords (files 0600, their folder 0700)."""
    folder = path / "credentials"
    if not folder.is_dir():
        return warning("passwords", "no account has been made yet", _MAKE_UP)
    files = [*folder.iterdir(), *(each for each in [path / "broker" / "passwords"] if each.exists())]
    readable = [str(each) for each in (folder, *files) if _mode(each) & 0o077]
    if readable:
        return failed("passwords", f"others may read {', '.join(readable)}", f"chmod -R go= {' '.join(readable)}")
    return ok("passwords", f"{len(files)} files, for their owner only")


def accounts(path: Path, declarations: Mapping[str, Declaration]) -> Finding:
    """Check that every component has a password."""
    missing = [name for name in declarations if not (path / "credentials" / name).is_file()]
    if missing:
        return warning("accounts", f"no password for {', '.join(missing)}", _MAKE_UP)
    return ok("accounts", f"{len(declarations)} generated")


def access(path: Path, declarations: Mapping[str, Declaration]) -> Finding:
    """Check that the access file matches the declarations."""
    text = _text(path / "broker" / "access")
    if text is None:
        return warning("access file", "there is none that this user may read", _MAKE_UP)
    try:
        people = read_accounts(path)
    except AccountError as error:
        return failed("access file", str(error), error.fix)
    devices = read_declared(path)
    wanted = access_file(declarations.values(), people.values(), certificate_users(path))
    if text != with_declared(wanted, devices.publishes, devices.reads):
        return failed("access file", "it does not match the components' declarations and the accounts", _MAKE_UP)
    return ok("access file", "matches the declarations" + (f", and {len(people)} accounts" if people else ""))


def configuration(path: Path) -> Finding:
    """Check the broker's configuration for the settings without which messages could be lost."""
    text = _text(path / mosquitto.CONFIGURATION)
    if text is None:
        return warning("broker settings", "there is no rendered configuration that this user may read", _MAKE_UP)
    lines = text.splitlines()
    missing = [each.strip() for each in _NEEDED if not any(line.startswith(each) for line in lines)]
    if missing:
        return failed("broker settings", f"not set: {', '.join(missing)}", "restore mosquitto.conf, then type `make down up`")
    chosen = [line for line in lines if line.startswith((*_NEEDED[:3], "autosave_interval"))]
    return ok("broker settings", ", ".join(chosen))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
