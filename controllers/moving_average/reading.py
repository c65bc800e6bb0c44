"""A reading for the average: its time, the finite numbers of the configured fields, and its status. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from broker.contract.machines.topics import MachineReading
from broker.errors import InvalidSetting
from broker.message import convert

GIVEN_NAMES = {"temperature": "average_temperature", "fan_speed": "average_speed"}
"""Field → key of its average, for keys that are specified."""


@dataclass(frozen=True, slots=True)
class Field:
    """A numeric field of a reading, and the key under which its average is published."""

    name: str
    key: str


DEFAULT_FIELDS = tuple(Field(name, key) for name, key in GIVEN_NAMES.items())
_RESERVED = frozenset({"status", "left_out"})
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_fields(name: str, text: str) -> tuple[Field, ...]:
    """Read a list of fields from a setting, such as `temperature,fan_speed,pressure=p`.

    Raises:
        InvalidSetting: it is empty, or a key is named twice or not possible; the text begins with the variable's `name`.
    """
    fields = tuple(_field(name, part.strip()) for part in text.split(",") if part.strip())
    keys = [field.key for field in fields]
    if not fields or len(set(keys)) < len(keys):
        raise InvalidSetting(f"{name} must name one field or more, each once, such as temperature,fan_speed, not {text!r}")
    return fields


def _field(name: str, text: str) -> Field:
    field, given, key = (part.strip() for part in text.partition("="))
    key = key if given else GIVEN_NAMES.get(field, f"average_{field}")
    if not field or not _KEY.fullmatch(key) or key in _RESERVED:
        raise InvalidSetting(f"{name}: {text!r} is not FIELD or FIELD=KEY, with letters, digits and _ in KEY")
    return Field(field, key)


@dataclass(frozen=True, slots=True)
class Reading:
    """`taken_s` is in seconds since 1970, None without a usable timestamp.

    `values` has one number for each configured field, in their order; None if the reading has none.
    """

    taken_s: float | None
    values: tuple[float | None, ...]
    status: str | None
    reference: str | None = field(default=None, compare=False)
    """How a cause names its message; None for one that the recorder returned."""


def check_reading(payload: Any) -> tuple[int, dict[str, Any]]:
    """Return a reading's machine and its fields, from decoded JSON.

    Raises:
        Rejected: it is not an object, or has no `id` that is a whole number.
    """
    machine = convert(payload, MachineReading).id
    return machine, payload


def read(payload: Mapping[str, Any], fields: Sequence[Field], reference: str | None = None) -> Reading:
    """Extract the averaged fields of a checked reading. Neither a text that looks like a number nor `true` is a number.

    Args:
        payload: the reading.
        fields: those to average.
        reference: how a cause names its message.
    """
    status = payload.get("status")
    return Reading(
        taken_s(payload.get("timestamp")),
        tuple([number(payload.get(field.name)) for field in fields]),
        status if isinstance(status, str) else None,
        reference,
    )


def number(value: Any) -> float | None:
    """Return a finite number, None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number that is too large for a float
        return None
    return found if math.isfinite(found) else None


def taken_s(value: Any) -> float | None:
    """Read an ISO 8601 timestamp as seconds since 1970; one without offset counts as UTC. None: not a timestamp."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the year 1 with an offset is before all instants
        return None
