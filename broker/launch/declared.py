"""What the component for declared devices may publish and read: no more than the declarations name.

Its other rights follow from its declaration, as with every component. These change while everything runs: they are kept in a
file beside the access file, from which that is made each time, and the broker is reloaded. The component itself does it, where
it can write the data directory of the broker.
"""

import signal
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from broker.launch.access import with_declared
from broker.launch.accounts import locked
from broker.launch.credentials import write_private

FILE, ACCESS, RELOAD, PID = "broker/devices", "broker/access", "broker/reload", "broker/mosquitto.pid"
"""Paths in the data directory: the rights, the access file, the request to a broker in a container to reload it, and the
process id of one that is not."""


class DeclaredRights(msgspec.Struct, frozen=True):
    """Topics that the declarations publish, and filters that they read."""

    publishes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def read_declared(data_dir: Path) -> DeclaredRights:
    """Return the rights that were written last; none where there are none, or they cannot be read."""
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=DeclaredRights)
    except (OSError, msgspec.MsgspecError):
        return DeclaredRights()


def write_declared(data_dir: Path, publishes: Iterable[str], reads: Iterable[str]) -> bool:
    """Write the rights and put them into the access file; return whether that has changed, so that the broker has to reload it.

    Raises:
        OSError: the data directory cannot be written.
    """
    wanted = DeclaredRights(tuple(sorted(set(publishes))), tuple(sorted(set(reads))))
    access = data_dir / ACCESS
    if not access.is_file():  # the broker is not ours, or not there yet
        return False
    with locked(data_dir):
        write_private(data_dir / FILE, msgspec.json.encode(wanted).decode())
        before = access.read_text()
        text = with_declared(before, wanted.publishes, wanted.reads)
        if text == before:
            return False
        write_private(access, text)
    return True


def reload_broker(data_dir: Path) -> None:
    """Let the broker of a data directory read its access file again: by SIGHUP, or as its container's command asks for it.

    Raises:
        OSError: the data directory cannot be written.
    """
    try:
        process = psutil.Process(int((data_dir / PID).read_text()))
        if process.name().startswith("mosquitto") and Path(process.cwd()).samefile(data_dir):
            process.send_signal(signal.SIGHUP)
            return
    except (OSError, ValueError, psutil.Error):
        pass  # in another container, or not running
    (data_dir / RELOAD).touch()
