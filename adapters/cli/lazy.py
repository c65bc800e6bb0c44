"""A group that loads a command when it is called, and ends quietly and with the documented exit codes."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from adapters.cli.importing import INTERRUPTED, importing
from adapters.client.errors import WrongUsage
from broker.errors import InvalidSetting


class LazyGroup(click.Group):
    """Knows each command by the place of its code and its summary, so that `--help` loads none of them.

    `lazy` gives for each name `("module:attribute", "summary")`.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in self.lazy:
            return None
        module, attribute = self.lazy[cmd_name][0].split(":")
        with importing():
            command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.lazy.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the closest names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "Did you mean" in error.message:
                raise
            raise click.UsageError(error.message + _nearest(args[0], self.list_commands(ctx)), ctx) from error

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; Ctrl-C ends it without a word, and not as click does."""
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe and Ctrl-C end it without a word."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _forget_stdout()
            ctx.exit(0)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except InvalidSetting as error:
            raise WrongUsage(
                str(error), "change it in the environment or in .env; `scaup config` lists every setting"
            ) from error


def _forget_stdout() -> None:
    """Let what is still buffered go nowhere, or Python complains about the closed pipe when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    return f" Did you mean {', '.join(close)}?" if close else f" Commands: {', '.join(known)}."
