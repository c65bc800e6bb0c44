"""`scaup config`: List every setting with its value and its origin."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit, urlunsplit

import click
from dotenv import dotenv_values

from adapters.cli.notices import warn
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from adapters.launcher.registry import components
from broker.runtime.declaration import Variable
from broker.runtime.settings import ROOT, VARIABLES, Settings

_COLUMNS = ("variable", "value", "from", "meaning")
_SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN")
_MASK = "********"


@click.command(epilog=examples("scaup config -o markdown"))
@output_options
def config(output: Output) -> None:
    """List every setting with its value and its origin.

    The environment wins over the file .env, which wins over the default. Passwords are masked.
    """
    environment, file = dict(os.environ), {name: value or "" for name, value in dotenv_values(ROOT / ".env").items()}
    variables = all_variables()
    output.write(Rows(_COLUMNS, [_row(each, environment, file) for each in variables]))
    for name in unknown_variables({*environment, *file}, [each.name for each in variables]):
        close = get_close_matches(name, [each.name for each in variables], n=1)
        warn(f"{name} is set, but no component reads it" + (f"; did you mean {close[0]}?" if close else ""))
    Settings.load()


def all_variables() -> list[Variable]:
    """Return the settings of all components and of single ones, each once."""
    own = (variable for declaration in components().values() for variable in declaration.variables)
    return list({each.name: each for each in (*VARIABLES, *own)}.values())


def unknown_variables(given: set[str], known: list[str]) -> list[str]:
    """Return the `SCAUP_` variables that no component reads."""
    return sorted(name for name in given if name.startswith("SCAUP_") and name not in known)


def masked(name: str, value: str) -> str:
    """Return a value without passwords, including one inside a URL."""
    if value and any(word in name for word in _SECRET_WORDS):
        return _MASK
    parts = urlsplit(value) if "@" in value else None
    if parts is None or not parts.password:
        return value
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", f":{_MASK}@")))


def _row(variable: Variable, environment: Mapping[str, str], file: Mapping[str, str]) -> tuple[str, str, str, str]:
    name = variable.name
    for origin, values in (("environment", environment), (".env", file)):
        if name in values:
            value = values[name].strip()
            return name, masked(name, value or variable.default), origin if value else "default", variable.meaning
    return name, masked(name, variable.default), "default", variable.meaning
