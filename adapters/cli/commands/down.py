"""`scaup down`: Stop everything cleanly."""

import click

from adapters.cli.options import examples
from adapters.launcher import lifecycle


@click.command(epilog=examples("scaup down"))
@click.option("--force", is_flag=True, help="Stop even if the disk is too full for the broker to save what is queued.")
def down(force: bool) -> None:
    """Stop everything cleanly: nothing recorded is lost, no process and no port is left."""
    stopped = lifecycle.stop(lifecycle.load_settings(), force)
    click.echo("everything is stopped" if stopped else "nothing runs", err=True)
