"""`scaup up`: Start everything and wait until it is healthy."""

import click

from adapters.cli.options import examples
from adapters.launcher import lifecycle


@click.command(epilog=examples("SCAUP_COMPONENTS=recorder,heating scaup up", "scaup up"))
def up() -> None:
    """Start everything and wait until it is healthy.

    Harmless where it runs already. RUNTIME=native or RUNTIME=docker decides where; otherwise a container engine is used if one
    answers.
    """
    click.echo(lifecycle.start(lifecycle.load_settings()))
