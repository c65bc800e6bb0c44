"""The interface of both runtimes, native and container, and the report at the end of `up`."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.runtime.settings import ROOT, Settings

_QUERY = "SELECT room, round(avg(celsius), 1) AS celsius FROM room_temperature GROUP BY room ORDER BY room"
_PLACE = ("SCAUP_MQTT_HOST", "SCAUP_MQTT_PORT", "SCAUP_DATA_DIR")
"""Variables that `scaup` needs to find this system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report: a program and where it runs."""

    name: str
    where: str
    state: str
    note: str = ""


class Runtime(Protocol):
    """A way to run the system."""

    @property
    def title(self) -> str:
        """How it runs, as part of a sentence."""
        ...

    def running(self) -> bool:
        """Return whether the system, or a part of it, runs in this runtime."""
        ...

    def start(self, environment: Mapping[str, str]) -> None:
        """Start everything that does not run, with these variables, and wait until it is healthy.

        Raises:
            ClientError: the system cannot start, or is not healthy in time; the text names cause and fix.
        """
        ...

    def stop(self) -> bool:
        """Stop everything, cleanly and in order; return whether anything ran."""
        ...

    def rows(self) -> list[Row]:
        """Return what runs where, the broker first."""
        ...

    def logs(self, name: str | None, lines: int, follow: bool) -> None:
        """Write the logs of one program or of all to standard output."""
        ...


def report(settings: Settings, runtime: Runtime) -> str:
    """Return the report: what runs where, and commands to try next."""
    rows = [("component", "where", "state", ""), *((each.name, each.where, each.state, each.note) for each in runtime.rows())]
    return "\n".join(
        [f"Scaup runs {runtime.title}.", "", *columns(rows), "", "Try next:", *(f"  {each}" for each in _next(settings))]
    )


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as aligned lines."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def own_broker(settings: Settings) -> bool:
    """Return whether the broker is to run on this machine, and so is started with the components."""
    return settings.mqtt_host in ("localhost", "127.0.0.1", "::1", *settings.bind)


def broker_note(settings: Settings) -> str:
    """Return the broker's addresses, for the report."""
    websockets = f"  ws://{settings.mqtt_host}:{settings.mqtt_ws_port} (with a login)" if settings.mqtt_ws_port else ""
    return f"mqtt://{settings.mqtt_host}:{settings.mqtt_port}{websockets}"


def _next(settings: Settings) -> list[str]:
    place = "".join(f"{name}={os.environ[name]} " for name in _PLACE if os.environ.get(name))
    scaup = place + (".venv/bin/scaup" if (ROOT / ".venv/bin/scaup").exists() else "scaup")
    port = "" if settings.mqtt_port == 1883 else f" -p {settings.mqtt_port}"
    watch = f"mosquitto_sub{port} -t '#' -v" if shutil.which("mosquitto_sub") else f"{scaup} tail '#' -f"
    return [watch, f'{scaup} query "{_QUERY}"', f"{scaup} heating report"]
