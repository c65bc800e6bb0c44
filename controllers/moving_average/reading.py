"""One reading as the average sees it: when it was taken, the finite numbers in it, and its status. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.contract.machines.topics import MachineReading
from broker.message import convert

GIVEN_NAMES = {"temperature": "average_temperature", "fan_speed": "average_speed"}
"""Field → key of its average, where the key is given from outside."""


@dataclass(frozen=True, slots=True)
class Field:
    """A numeric field of a reading, and the key under which its average is published."""

    name: str
    key: str


DEFAULT_FIELDS = tuple(Field(name, key) for name, key in GIVEN_NAMES.items())


@dataclass(frozen=True, slots=True)
class Reading:
    """`taken_s` is in seconds since 1970, None without a usable timestamp.

    `values` has one number for each configured field, in their order; None where the reading has none.
    """

    taken_s: float | None
    values: tuple[float | None, ...]
    status: str | None


def check_reading(payload: Any) -> tuple[int, dict[str, Any]]:
    """Return a reading's machine and its fields, from decoded JSON.

    Raises:
        Rejected: it is no object, or has no `id` that is a whole number.
    """
    machine = convert(payload, MachineReading).id
    return machine, payload


def read(payload: Mapping[str, Any], fields: Sequence[Field]) -> Reading:
    """Pick out of a checked reading what is averaged. A text that looks like a number is no number, and neither is `true`."""
    status = payload.get("status")
    return Reading(
        taken_s(payload.get("timestamp")),
        tuple([number(payload.get(field.name)) for field in fields]),
        status if isinstance(status, str) else None,
    )


def number(value: Any) -> float | None:
    """Return a finite number as it is, None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number that no float can hold
        return None
    return found if math.isfinite(found) else None


def taken_s(value: Any) -> float | None:
    """Read an ISO 8601 timestamp as seconds since 1970; one without offset counts as UTC, None stands for no timestamp."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the year 1 with an offset is before all instants
        return None
