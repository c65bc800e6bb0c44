"""Standard error: hints, warnings, and errors with their exit codes."""

import sys
from typing import IO, Any

import click

from adapters.client.errors import ClientError, Failed, Refused, Stalled, Unreachable, WrongUsage

EXIT_CODES = {
    0: "done",
    1: 'the answer is "no": a component is not online, a check failed, the work could not be finished',
    2: "wrong usage: an argument, a setting or a statement that cannot be used",
    3: "broker or recorder not reachable",
    4: "refused: by the broker's access rules, or by a limit",
    130: "interrupted with Ctrl-C",
}
_CODES: tuple[tuple[type[ClientError], int], ...] = (
    (Failed, 1),
    (WrongUsage, 2),
    (Unreachable, 3),
    (Stalled, 3),
    (Refused, 4),
)


class CommandFailed(click.ClickException):
    """A client error as click shows it: what is wrong, what to do about it, and the exit code."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(error.message)
        self.fix = error.fix
        self.exit_code = exit_code(error)  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error and the fix to standard error."""
        click.echo(f"Error: {self.message}", file=file, err=True)
        if self.fix:
            click.echo(f"Fix: {self.fix}", file=file, err=True)


def exit_code(error: ClientError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def hint(text: str) -> None:
    """Write something beside the result to standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    click.echo(click.style(f"Warning: {text}", fg="yellow") if sys.stderr.isatty() else f"Warning: {text}", err=True)
