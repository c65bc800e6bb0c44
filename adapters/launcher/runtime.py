"""The interface of both runtimes, native and container, and the report at the end of `up`."""

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from textwrap import wrap
from typing import Protocol

from broker.launch.tls import AUTHORITY, only_loopback, reach, wants_tls
from broker.runtime.declaration import Declaration
from broker.runtime.settings import ROOT, Settings

_QUERY = "SELECT room, round(avg(celsius), 1) AS celsius FROM room_temperature GROUP BY room ORDER BY room"
_PLACE = ("SCAUP_MQTT_HOST", "SCAUP_MQTT_PORT", "SCAUP_DATA_DIR")
"""Variables that `scaup` needs to find this system."""


_WIDTH = 80


class Runtime(Protocol):
    """A way to run the system."""

    @property
    def title(self) -> str:
        """How it runs, as part of a sentence."""
        ...

    @property
    def has_tls(self) -> bool:
        """Whether its broker speaks TLS."""
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

    def reload_broker(self) -> bool:
        """Let the broker read accounts, access rules and certificates again; return whether it runs here."""
        ...

    def places(self) -> dict[str, str]:
        """Return where each program runs, a process or a container, by the program's name, the broker first."""
        ...

    @property
    def files(self) -> Sequence[tuple[str, str]]:
        """What can be opened on this machine beside the addresses: a path or a command, and its purpose."""
        ...

    def logs(self, name: str | None, lines: int, follow: bool) -> None:
        """Write the logs of one program or of all to standard output."""
        ...


def report(settings: Settings, runtime: Runtime, started: Sequence[Declaration]) -> str:
    """Return the report: what is online, what can be opened, and commands to try next. `started` are the components."""
    names = [*runtime.places()]
    opened = [*addresses(settings, started, runtime.has_tls), *runtime.files]
    return "\n".join(
        [
            f"Scaup runs {runtime.title}. All {len(names)} are online:",
            *(f"  {line}" for line in wrap(", ".join(names), _WIDTH - 2, break_on_hyphens=False)),
            "",
            "Open:",
            *(f"  {line}" for line in columns(opened)),
            "",
            "Try next:",
            *(f"  {each}" for each in _next(settings)),
            "",
            "scaup status shows the components, make down stops them; README.md goes on.",
        ]
    )


def addresses(settings: Settings, started: Sequence[Declaration], has_tls: bool = False) -> list[tuple[str, str]]:
    """Return the addresses that can be opened, with their purpose: the broker's first, then those that components declare.

    `has_tls`: MQTT with TLS is among them.
    """
    host = "localhost" if own_broker(settings) else _in_url(settings.mqtt_host)
    plain_outside = settings.plaintext and not only_loopback(settings.bind)
    found = [
        (f"mqtt://{host}:{settings.mqtt_port}", f"every message, to read {'with' if plain_outside else 'without'} a login")
    ]
    outside = _outside_host(settings)
    if has_tls:
        found.append(
            (f"mqtts://{outside}:{settings.mqtt_tls_port}", f"the same with TLS and a login; clients need {_ca(settings)}")
        )
    if settings.mqtt_ws_port:
        secure = own_broker(settings) and wants_tls(settings)
        place = f"wss://{outside}" if secure else f"ws://{host}"
        found.append((f"{place}:{settings.mqtt_ws_port}", "the same for browsers, with a login"))
    for component in started:
        places = {each.name: settings.value(each) for each in component.listens} | {"host": "localhost"}
        found += [(filled(each.template, places), each.purpose) for each in component.addresses]
    if not only_loopback(settings.bind) and any(each.addresses for each in started):
        http, ws, how = ("http", "ws", "in plain text") if settings.plaintext else ("https", "wss", "over TLS")
        found.append((f"{http}://{outside}, {ws}://{outside}", f"these ports for other machines, {how}, with a login"))
    return found


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with these values in place of their names in braces; other braces stay."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as aligned lines."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def own_broker(settings: Settings) -> bool:
    """Return whether the broker is to run on this machine, and so is started with the components."""
    return settings.mqtt_host in ("localhost", "127.0.0.1", "::1", *settings.bind)


def short(path: Path) -> str:
    """Return a path as people type it here: relative where it is below the present folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _outside_host(settings: Settings) -> str:
    """Return the host under which other machines reach the ports."""
    first = reach(settings.bind, ipv6=True).outside[:1]
    if not first:
        return "localhost"
    return socket.gethostname() if ip_address(first[0]).is_unspecified else _in_url(first[0])


def _ca(settings: Settings) -> str:
    if settings.tls_cert:
        return "the authority of SCAUP_TLS_CERT"
    return short(settings.data_dir / AUTHORITY)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _next(settings: Settings) -> list[str]:
    place = "".join(f"{name}={os.environ[name]} " for name in _PLACE if os.environ.get(name))
    scaup = place + (".venv/bin/scaup" if (ROOT / ".venv/bin/scaup").exists() else "scaup")
    port = "" if settings.mqtt_port == 1883 else f" -p {settings.mqtt_port}"
    watch = f"mosquitto_sub{port} -t '#' -v" if shutil.which("mosquitto_sub") else f"{scaup} tail '#' -f"
    return [watch, f'{scaup} query "{_QUERY}"', f"{scaup} heating report"]
