"""The group of all commands: finds them in their files, loads one when it is called, and ends with the documented exit codes.

A module in `adapters/cli/commands/` or below `adapters/cli/systems/` is a command when the first line of its docstring is
``"`scaup NAME`: Summary."``; the function NAME in it is the command. Only first lines are read, so `--help` imports no command.
"""

import errno
import re
import sys
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from adapters.cli.importing import INTERRUPTED, importing
from adapters.cli.notices import CommandFailed
from adapters.cli.streams import ResultNotWritten, discard_stdout, usable_streams
from adapters.client.errors import ClientError, Failed, WrongUsage
from broker.errors import BusError, InvalidSetting

_HERE = Path(__file__).parent
_SECTIONS = {"Commands": "commands/*.py", "Systems": "systems/*/*.py"}
"""Section of the help → the files in which its commands are."""
_FIRST_LINE = re.compile(r'"""`scaup ([a-z][a-z-]*)`: (.+?)(?:""")?')


class CommandFile(NamedTuple):
    """A command that was found, not loaded yet."""

    section: str
    module: str
    summary: str


class LazyGroup(click.Group):
    """Knows each command by its file and its summary, so that `--help` loads none of them."""

    @cached_property
    def found(self) -> dict[str, CommandFile]:
        """The commands by their names: section by section, in alphabetical order."""
        found: dict[str, CommandFile] = {}
        for section, pattern in _SECTIONS.items():
            found |= sorted(_commands(section, pattern))
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the help."""
        return list(self.found)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in self.found:
            return None
        with importing():
            command = getattr(import_module(self.found[cmd_name].module), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands with their summaries, section by section."""
        width = max(map(len, self.found))
        for section in _SECTIONS:
            rows = [(name.ljust(width), each.summary) for name, each in self.found.items() if each.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the closest names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "Did you mean" in error.message:
                raise
            raise click.UsageError(error.message + _nearest(args[0], self.list_commands(ctx)), ctx) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a result that cannot be written is an error as any other."""
        try:
            with usable_streams():
                return super().main(*args, **kwargs)
        except ResultNotWritten as error:
            discard_stdout()
            failed = CommandFailed(Failed(f"standard output cannot be written: {error.strerror}", _fix(error)))
            failed.show()
            sys.exit(failed.exit_code)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; on Ctrl-C, exit without a message, where click would print one."""
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe and Ctrl-C end it without a message."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            discard_stdout()
            ctx.exit(0)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except InvalidSetting as error:
            fix = "change it in the environment or in .env; `scaup config` lists every setting"
            raise CommandFailed(WrongUsage(str(error), fix)) from error
        except ClientError as error:
            raise CommandFailed(error) from error
        except BusError as error:
            raise CommandFailed(Failed(str(error), getattr(error, "fix", ""))) from error


def _commands(section: str, pattern: str) -> list[tuple[str, CommandFile]]:
    found = []
    for path in _HERE.glob(pattern):
        if path.name != "__init__.py" and (match := _FIRST_LINE.fullmatch(_first_line(path))):
            module = ".".join((__package__, *path.relative_to(_HERE).with_suffix("").parts))
            found.append((match[1], CommandFile(section, module, match[2])))
    return found


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def _fix(error: ResultNotWritten) -> str:
    if error.errno == errno.EBADF:
        return "leave it open; `> /dev/null` discards the result"
    return "make room, or send the result elsewhere"


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    return f" Did you mean {', '.join(close)}?" if close else f" Commands: {', '.join(known)}."
