"""The option `--fault NAME=SHARE` of simulators."""

import enum
from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=enum.StrEnum)


def fault_share(faults: type[F]) -> Callable[[str], tuple[F, float]]:
    """Return what reads one of `faults` and how often it happens, a share from 0 to 1: `garbage=0.1`.

    What it returns raises `click.BadParameter` for anything else.
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
