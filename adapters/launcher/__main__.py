"""Steps that the Makefile and `docker-compose.yml` run: `python -m adapters.launcher prepare | need-broker | runs`."""

import os
import sys

import click

from adapters.client.errors import ClientError
from adapters.launcher import lifecycle, preflight
from adapters.launcher.compose import prepare_volume


@click.group()
def steps() -> None:
    """Run one step of starting or testing the system."""


@steps.command()
def prepare() -> None:
    """Write accounts, access rules and the broker's configuration; a container does this before the broker starts."""
    prepare_volume(lifecycle.load_settings())


@steps.command()
def need_broker() -> None:
    """Make sure that tests find a broker: a container engine that answers, or a Mosquitto on this machine."""
    if os.environ.get("SCAUP_TEST_BROKER") == "local" or not lifecycle.engine_answers():
        preflight.ensure_broker()


@steps.command()
def runs() -> None:
    """Exit with 0 if a system is up on the data directory, with 1 if not; `make clean` checks this first."""
    raise SystemExit(not lifecycle.is_up(lifecycle.load_settings()))


def main() -> None:
    """Run a step; an error ends it with its fix and exit code 1."""
    try:
        steps()
    except ClientError as error:
        click.echo(f"Error: {error.message}\nFix: {error.fix}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
