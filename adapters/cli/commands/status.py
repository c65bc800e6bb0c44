"""`scaup status`: Show the broker and which components are online."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import click

from adapters.cli.notices import warn
from adapters.cli.options import ComponentName, examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.bus import Received
from adapters.client.errors import ClientError, WrongUsage
from adapters.client.requests import component_states, component_warnings
from adapters.client.session import Session
from adapters.launcher import security
from adapters.launcher.registry import chosen, components
from broker.contract.components.topics import STATE, WARNING, ComponentState, Presence

BROKER = "broker"
VERSION_TOPIC = "$SYS/broker/version"
_ABSENT: dict[str, str | None] = {"state": "unknown", "version": None, "boot": None}
_FOR_PEOPLE = ("component", "state", "does")
_WIDE = (*_FOR_PEOPLE, "version", "where")
"""The columns of a table with room for more. The identifier of a start is for programs only."""
_PROGRAMS = (*_WIDE, "warning")
_WIDE_FROM = 120


@click.command(epilog=examples("scaup status recorder heating"))
@click.argument("names", metavar="[NAME]...", nargs=-1, type=ComponentName())
@output_options
@click.pass_context
def status(ctx: click.Context, names: tuple[str, ...], output: Output) -> None:
    """Show the broker and which components are online.

    Exits with 0 if all components (or all NAMEs) are online, with 1 if one is not, with 3 if the broker is not reachable. The
    state is "unknown" for a component that has never been online at this broker. On a wide terminal, and with -o json, also the
    release, and the process or container in which each of them runs on this machine. A component that cannot keep up has a
    warning.
    """
    session: Session = ctx.obj
    expected = chosen(session.settings)
    _check_names(names, {*components(), BROKER})
    with session.bus() as bus:
        retained = bus.retained(STATE.template.filter, WARNING.template.filter, VERSION_TOPIC)
    states, warnings = component_states(retained.values()), component_warnings(retained.values())
    wanted = names or (BROKER, *expected, *sorted(set(states) - set(expected)))
    wide = not output.format.for_people or shutil.get_terminal_size().columns >= _WIDE_FROM
    where = _places(session) if wide else {}
    rows = [_row(name, states, retained) | {"where": where.get(name), "warning": warnings.get(name)} for name in wanted]
    columns = _PROGRAMS if not output.format.for_people else _WIDE if wide else _FOR_PEOPLE
    output.write_dicts(rows, {name: partial(_value, name=name) for name in columns})
    for row in rows:
        if row["warning"]:
            warn(f"{row['component']}: {row['warning']}")
    for complaint in security.complaints(session.settings):
        warn(complaint)
    needed = names or (BROKER, *expected)
    if any(row["state"] != Presence.ONLINE.value for row in rows if row["component"] in needed):
        ctx.exit(1)


def _row(name: str, states: Mapping[str, ComponentState], retained: Mapping[str, Received]) -> dict[str, str | None]:
    if name == BROKER:
        version = retained.get(VERSION_TOPIC)
        known = {"state": Presence.ONLINE.value, "version": version.payload.decode(errors="replace") if version else None}
        return {"component": name, **known, "boot": None, "does": "MQTT broker"}
    state, declaration = states.get(name), components().get(name)
    found = {"state": state.state.value, "version": state.version, "boot": state.boot} if state else _ABSENT
    return {"component": name, **found, "does": declaration.summary if declaration else "not declared in this release"}


def _value(row: Mapping[str, str | None], name: str) -> str | None:
    return row[name]


def _places(session: Session) -> dict[str, str]:
    """Return where programs run on this machine, as far as that can be found out."""
    from adapters.launcher import lifecycle

    with suppress(ClientError, OSError):
        return lifecycle.places(session.settings)
    return {}


def _check_names(names: tuple[str, ...], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WrongUsage(f"there is no component {', '.join(unknown)}", f"choose from {', '.join(sorted(known))}")
