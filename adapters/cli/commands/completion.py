"""`scaup completion`: Print the completion script of a shell."""

import click
from click.shell_completion import get_completion_class

from adapters.cli.options import examples
from adapters.client.errors import Failed

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=examples('eval "$(scaup completion bash)"'))
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, components, and the names of recorded topics.
    """
    found = get_completion_class(shell)
    if found is None:
        raise Failed(f"no completion for {shell}", f"choose one of {', '.join(_SHELLS)}")
    click.echo(found(ctx.find_root().command, {}, "scaup", "_SCAUP_COMPLETE").source())
