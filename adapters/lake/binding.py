"""The one data directory that may forward for a site: this machine, and the directory's device and inode."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class Binding:
    """A data directory on a machine; where it is, and the machine's name, are for people and not compared."""

    machine: str
    device: str
    inode: str
    directory: str = field(compare=False, default="")
    host: str = field(compare=False, default="")

    @classmethod
    def of(cls, data_dir: Path) -> "Binding":
        """Return that of a data directory, which exists."""
        found, host = data_dir.stat(), socket.gethostname()
        try:
            machine = _MACHINE_ID.read_text().strip()
        except OSError:
            machine = ""
        return cls(machine or host, str(found.st_dev), str(found.st_ino), str(data_dir.resolve()), host)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Binding | None":
        """Return the one in a row of `scaup_site`, None if the site is bound to none."""
        if row["machine"] is None or row["state"] == "left":
            return None
        return cls(row["machine"], row["device"], row["inode"], row["directory"], row["host"])

    @property
    def columns(self) -> dict[str, str]:
        """The columns of its row."""
        return {
            "machine": self.machine,
            "device": self.device,
            "inode": self.inode,
            "directory": self.directory,
            "host": self.host,
        }

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.directory} on {self.host}"
