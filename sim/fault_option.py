"""The option `--fault NAME=SHARE` of simulators."""

import enum
from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=enum.StrEnum)


def fault_share(faults: type[F]) -> Callable[[str], tuple[F, float]]:
    """Return a parser for one of `faults` with its share from 0 to 1, such as `garbage=0.1`.

    The parser raises `click.BadParameter` for anything else.
    """

    def read(text: str) -> tuple[F, float]:
        name, _, share = text.partition("=")
        try:
            fault, value = faults(name), float(share)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not NAME=SHARE with NAME one of {', '.join(faults)}") from None
        if not 0 <= value <= 1:
            raise click.BadParameter(f"{share!r} is not a share from 0 to 1")
        return fault, value

    return read
