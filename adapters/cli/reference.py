"""The generator of `docs/cli.md`: `python -m adapters.cli.reference > docs/cli.md`."""

import sys
from collections.abc import Iterator

import click

from adapters.cli.main import cli
from adapters.cli.notices import EXIT_CODES

_WIDTH = 100
_HEAD = """# The command line

Generated from `scaup --help` by `python -m adapters.cli.reference > docs/cli.md`; a test fails when it is out of date.

Only results go to standard output; hints, progress and warnings go to standard error. On a terminal a result is a table, in a
pipe it is JSON lines; `-o` selects `table`, `csv`, `json`, `jsonl`, `parquet` or `markdown`, and so does the ending of
`--output-file`. `NO_COLOR` turns colours off. Instants are in UTC; bytes are base64, in tables hexadecimal.

Topics can be MQTT filters: `+` stands for one level, `#` for the rest. Times are `30s`, `15m`, `1h30m`, `2d`, `1w` (ago),
`now`, `today`, `yesterday`, or an ISO 8601 date or time, which is local if it has no offset.

While the recorder runs, queries go to it over MQTT, with the operator's account of `SCAUP_DATA_DIR` or with
`SCAUP_MQTT_USERNAME` and `SCAUP_MQTT_PASSWORD`. While none runs, the database file is opened read-only.

## Exit codes

| code | meaning |
| ---: | --- |
"""


def reference() -> str:
    """Return the whole document."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    parts = [f"## `{path}`\n\n```text\n{_help(command, path)}\n```\n" for path, command in commands()]
    return "\n".join([_HEAD + codes, *parts])


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is not hidden, with its full name, `scaup` itself first."""
    yield "scaup", cli
    yield from _below(cli, "scaup")


def _below(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _below(command, f"{path} {name}")


def _help(command: click.Command, path: str) -> str:
    settings = {"help_option_names": ["-h", "--help"], **(command.context_settings or {})}
    context = click.Context(command, info_name=path, **{**settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH})
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines()).strip()


if __name__ == "__main__":
    sys.stdout.write(reference())
