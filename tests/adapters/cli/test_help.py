"""Every command has help and an example, and `docs/cli.md` is generated from them."""

import shlex
import subprocess
import sys

import click
import pytest

from adapters.cli.lazy import LazyGroup
from adapters.cli.main import cli
from adapters.cli.reference import commands, reference
from broker.runtime.settings import ROOT
from tests.adapters.cli.conftest import Scaup

EVERY = dict(commands())
assert isinstance(cli, LazyGroup)
FOUND = cli.found
PLAIN = {"scaup up", "scaup down"}
"""Commands without arguments: their usage line is their example."""


def test_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "cli.md").read_text()
    assert written == reference(), "type: python -m adapters.cli.reference > docs/cli.md"


@pytest.mark.parametrize("path", EVERY)
def test_every_command_has_help(path: str) -> None:
    command = EVERY[path]
    assert command.help
    assert command.help.strip()[0].isupper()
    assert command.get_short_help_str(200).endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]} has no help"


@pytest.mark.parametrize("path", sorted(EVERY.keys() - PLAIN))
def test_every_command_has_an_example_that_parses(path: str) -> None:
    lines = [line.strip() for line in (EVERY[path].epilog or "").splitlines()]
    examples = [line for line in lines if line.startswith(("scaup ", "eval "))]
    assert examples, f"{path} has no example"
    for example in examples:
        words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"'))[1:]
        context = click.Context(cli, info_name="scaup", resilient_parsing=True)
        name, command, rest = cli.resolve_command(context, words)
        assert command is not None
        command.make_context(name, rest, parent=context, resilient_parsing=True)


@pytest.mark.parametrize("name", FOUND)
def test_summary_in_the_list_is_that_of_the_command(name: str) -> None:
    command = EVERY[f"scaup {name}"]
    assert command.help is not None
    assert command.help.startswith(FOUND[name].summary.removesuffix("."))


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["heating", "--help"], ["--version"]])
def test_help_ends_with_success(scaup: Scaup, arguments: list[str]) -> None:
    assert scaup(*arguments).exit_code == 0


def test_misspelled_command_is_answered_with_the_closest(scaup: Scaup) -> None:
    result = scaup("qury")
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert "query" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["status"]])
def test_quick_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom adapters.cli.main import cli\n"
        f"try:\n    cli({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print(sorted({'pyarrow', 'duckdb', 'rich', 'asyncio', 'gmqtt', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    environment = {"SCAUP_MQTT_PORT": "1", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
