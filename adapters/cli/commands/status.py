"""`scaup status`: Show the broker and which components are online."""

from collections.abc import Mapping

import click

from adapters.cli.options import ComponentName, examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.bus import Received
from adapters.client.errors import WrongUsage
from adapters.client.requests import component_states
from adapters.client.rows import Rows
from adapters.client.session import Session
from adapters.launcher.registry import components
from broker.contract.components.topics import STATE, ComponentState, Presence

BROKER = "broker"
VERSION_TOPIC = "$SYS/broker/version"
_COLUMNS = ("component", "state", "version", "boot", "does")
_ABSENT = ("unknown", None, None)


@click.command(epilog=examples("scaup status recorder heating"))
@click.argument("names", metavar="[NAME]...", nargs=-1, type=ComponentName())
@output_options
@click.pass_context
def status(ctx: click.Context, names: tuple[str, ...], output: Output) -> None:
    """Show the broker and which components are online.

    Exits with 0 if all components (or all NAMEs) are online, with 1 if one is not, with 3 if the broker is not reachable. The
    state is "unknown" for a component that has never been online at this broker.
    """
    session: Session = ctx.obj
    expected = expected_components(session.settings.components)
    _check_names(names, {*components(), BROKER})
    with session.bus() as bus:
        retained = bus.retained(STATE.template.filter, VERSION_TOPIC)
    states = component_states(retained.values())
    wanted = names or (BROKER, *expected, *sorted(set(states) - set(expected)))
    rows = [_row(name, states, retained) for name in wanted]
    output.write(Rows(_COLUMNS, rows))
    needed = names or (BROKER, *expected)
    if any(row[1] != Presence.ONLINE.value for row in rows if row[0] in needed):
        ctx.exit(1)


def expected_components(chosen: tuple[str, ...]) -> list[str]:
    """Return the components that should run: those chosen by SCAUP_COMPONENTS, else all declared ones."""
    return [name for name in components() if not chosen or name in chosen]


def _row(name: str, states: Mapping[str, ComponentState], retained: Mapping[str, Received]) -> tuple[str | None, ...]:
    declaration = components().get(name)
    if name == BROKER:
        version = retained.get(VERSION_TOPIC)
        return name, Presence.ONLINE.value, version.payload.decode(errors="replace") if version else None, None, "MQTT broker"
    state = states.get(name)
    known = (state.state.value, state.version, state.boot) if state else _ABSENT
    return name, *known, declaration.summary if declaration else "not declared in this release"


def _check_names(names: tuple[str, ...], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WrongUsage(f"there is no component {', '.join(unknown)}", f"choose from {', '.join(sorted(known))}")
