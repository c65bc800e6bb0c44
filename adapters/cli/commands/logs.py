"""`scaup logs`: Show what the components log."""

import click

from adapters.cli.options import examples
from adapters.launcher import lifecycle


@click.command(epilog=examples("scaup logs heating -f"))
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines as they are logged, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Past lines to begin with, for each component.",
)
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show what the components log, or one of them: NAME, which may be `broker` too."""
    runtimes = lifecycle.possible_runtimes(lifecycle.load_settings())
    running = [runtime for runtime in runtimes if runtime.running()]
    (running or runtimes)[0].logs(name, lines, follow)
