"""`scaup service`: Start everything at boot, with systemd."""

import os
from collections.abc import Callable

import click

from adapters.cli.options import examples
from adapters.launcher import lifecycle


@click.group(epilog=examples("scaup service install --print", "sudo .venv/bin/scaup service install"))
def service() -> None:
    """Start everything at boot, with systemd.

    The unit runs what `make up` and `make down` do. In containers the engine restarts them after a reboot anyway.
    """


def _scope(command: Callable[..., None]) -> Callable[..., None]:
    help_text = "The user's service manager or the system's. Without it: the system's for root, else the user's."
    return click.option("--user/--system", "user", default=None, help=help_text)(command)


@service.command(epilog=examples("scaup service install --user", "scaup service install --print"))
@_scope
@click.option("--print", "only_print", is_flag=True, help="Only write the unit to standard output.")
def install(user: bool | None, only_print: bool) -> None:
    """Write a systemd unit, and start it now and at each boot.

    It has the SCAUP_… variables that are set now, besides what is in .env. A unit of the system runs as the owner of the data
    directory. Prints what it did.
    """
    from adapters.launcher import service as units

    system = _is_of_system(user)
    wanted = units.unit(lifecycle.load_settings(), system)
    if only_print:
        click.echo(wanted.render(), nl=False)
        return
    click.echo("\n".join(units.Systemd.find(system).install(wanted)))


@service.command(epilog=examples("scaup service remove"))
@_scope
def remove(user: bool | None) -> None:
    """Stop what the unit started, and remove the unit. Nothing recorded is lost."""
    from adapters.launcher import service as units

    done = units.Systemd.find(_is_of_system(user)).remove()
    click.echo("\n".join(done) if done else "no service is installed", err=not done)


def _is_of_system(user: bool | None) -> bool:
    return os.geteuid() == 0 if user is None else not user
