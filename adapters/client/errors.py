"""Errors of the command line; each carries what to do about it and the exit code.

CommandError          exit code
├── Failed            1  the answer is "no", or the work could not be finished
├── WrongUsage        2  an argument, a setting or a statement that cannot be used
├── Unreachable       3  the broker or the recorder is not there
│   ├── ConnectionLost   the broker went away in the middle
│   └── NoRecorder       there is a broker, but no recorder on it
├── Stalled           3  there is a recorder, but it cannot commit now
└── Refused           4  the broker's access rules or the recorder's limits say no
"""

from typing import IO, Any

import click

EXIT_CODES = {
    0: "done",
    1: 'the answer is "no": a component is not online, a check failed, the work could not be finished',
    2: "wrong usage: an argument, a setting or a statement that cannot be used",
    3: "broker or recorder not reachable",
    4: "refused: by the broker's access rules, or by a limit",
    130: "interrupted with Ctrl-C",
}


class CommandError(click.ClickException):
    """Root of every error of the command line. `fix` says what to do."""

    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error and the fix to standard error."""
        click.echo(f"Error: {self.message}", file=file, err=True)
        if self.fix:
            click.echo(f"Fix: {self.fix}", file=file, err=True)


class Failed(CommandError):
    """The answer is "no", or the work could not be finished."""


class WrongUsage(CommandError):
    """An argument, a setting or a statement that cannot be used."""

    exit_code = 2


class Unreachable(CommandError):
    """The broker or the recorder is not there, or does not answer."""

    exit_code = 3


class ConnectionLost(Unreachable):
    """The connection to the broker was lost after it had been made."""


class NoRecorder(Unreachable):
    """There is a broker, but no recorder says that it is online."""


class Stalled(CommandError):
    """There is a recorder, but it can neither commit nor answer now: its file is open, so nobody else can read it either."""

    exit_code = 3


class Refused(CommandError):
    """The broker's access rules, or the recorder's limits, say no."""

    exit_code = 4
