"""One foreign message and one declaration → a publication, nothing, or why it is malformed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.devices.declared import Declared
from adapters.devices.times import read_time
from adapters.devices.values import ABSENT, Malformed, as_number, find, read_document, shown
from broker.contract.charging.topics import SOC
from broker.contract.energy.topics import RAW
from broker.contract.heating.topics import (
    HIGHEST_SETPOINT_C,
    LOWEST_SETPOINT_C,
    SETPOINT,
    Setpoint,
    TemperatureReading,
)
from broker.contract.heating.topics import READING as TEMPERATURE
from broker.contract.identifiers import parse_identifier
from broker.contract.machines.topics import READING as MACHINE_READING
from broker.message import Publication, encode
from broker.stamp import rfc3339

_DAY = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says by a declaration. `device_at` is the device's time, None where it gives none."""

    values: Mapping[str, Any]
    device_at: datetime | None


@dataclass(frozen=True, slots=True)
class Document:
    """A payload, decoded once for every declaration whose filter selects it."""

    payload: bytes
    _decoded: list[Any]

    @classmethod
    def of(cls, payload: bytes) -> "Document":
        """Wrap a payload, to be decoded when it is asked for."""
        return cls(payload, [])

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> "Document":
        """Wrap values that no message has brought."""
        return cls(b"", [values])

    def read(self, has_path: bool) -> Any:
        """Return it decoded.

        Raises:
            Malformed: it is not JSON although a path is to be followed, or not UTF-8.
        """
        if not self._decoded:
            self._decoded.append(read_document(self.payload, has_path))
        found = self._decoded[0]
        if has_path and type(found) is str and not self.payload.lstrip().startswith(b'"'):
            read_document(self.payload, has_path)  # text, as another declaration has read it
        return found


def read(declared: Declared, document: Document, now_at: datetime) -> Reading | None:
    """Return what a message says by a declaration, None where it has no reading.

    Args:
        declared: the declaration.
        document: the payload.
        now_at: wall time, against which the device's clock is checked.

    Raises:
        Malformed: it cannot be used.
    """
    has_path = declared.time is not None or any(rule.path for rule in declared.values.values())
    decoded = document.read(has_path)
    values: dict[str, Any] = {}
    for name, rule in declared.values.items():
        value = rule.read(decoded)
        if value is not ABSENT:
            values[name] = typed(declared, name, value)
    device_at = None
    if declared.time is not None:
        found = find(decoded, declared.time)
        if found is not ABSENT and found is not None:
            device_at = read_time(found, now_at)
    return Reading(values, device_at) if values else None


def publication(declared: Declared, reading: Reading, at: datetime) -> Publication | None:
    """Return the publication of a reading; None for a table, whose view reads the foreign messages themselves.

    Args:
        declared: the declaration.
        reading: what its message says.
        at: when it arrived, in plant time, for a message without a device time.
    """
    value, event_at = reading.values.get(""), reading.device_at or at
    match declared.kind:
        case "sensor":
            payload = TemperatureReading(declared.name, "temperature", float(value))  # type: ignore[arg-type]
            found = TEMPERATURE.publication(payload, room=declared.identity)
        case "setpoint":
            found = SETPOINT.publication(Setpoint(float(value)), room=declared.identity)  # type: ignore[arg-type]
        case "charger":
            body = {"event": "StateOfCharge", "data": {"soc": value}}
            found = Publication(topic=SOC.template.topic(id=declared.identity), payload=encode(body), qos=SOC.qos)
        case "machine":
            found = _machine(declared, reading)
        case "meter":
            found = _meter(declared, float(value), event_at)  # type: ignore[arg-type]
        case _:
            return None
    return replace(found, plant_at=event_at)


def typed(declared: Declared, name: str, value: Any) -> Any:
    """Check the type of a value, once it is scaled and mapped.

    Raises:
        Malformed: it has another.
    """
    if declared.kind == "table":
        return column_value(declared.types[name], value)
    if declared.kind == "machine" and name == "status":
        if type(value) is not str:
            raise Malformed(f"status: {shown(value)} is no text")
        return value
    try:
        number = as_number(value)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") if name else error from None
    if declared.kind == "setpoint" and not LOWEST_SETPOINT_C <= number <= HIGHEST_SETPOINT_C:
        raise Malformed(f"{number:g} is outside {LOWEST_SETPOINT_C:g}..{HIGHEST_SETPOINT_C:g}")
    return number


def column_value(kind: str, value: Any) -> Any:
    """Return a value as a column of a table has it.

    Raises:
        Malformed: it is of another type.
    """
    match kind:
        case "double":
            return as_number(value)
        case "bigint":
            number = as_number(value)
            if not float(number).is_integer() or not -(2**63) <= number < 2**63:
                raise Malformed(f"{shown(value)} is no whole number")
            return int(number)
        case "boolean" if type(value) is bool:
            return value
        case "varchar" if type(value) is str:
            return value
        case "timestamp":
            return read_time(value, datetime.max.replace(tzinfo=UTC) - _DAY)
    raise Malformed(f"{shown(value)} is no {kind}")


def _machine(declared: Declared, reading: Reading) -> Publication:
    at = None if reading.device_at is None else rfc3339(reading.device_at)
    fields = {
        "id": int(declared.identity),
        "name": declared.label,
        "description": declared.description,
        **reading.values,
        "timestamp": at,
    }
    payload = encode({name: value for name, value in fields.items() if value is not None})
    return Publication(topic=MACHINE_READING.template.topic(id=declared.identity), payload=payload, qos=MACHINE_READING.qos)


def _meter(declared: Declared, value: float, at: datetime) -> Publication:
    units = "kWh" if (declared.unit or "").endswith("h") else "kW"
    row = {"datetime": rfc3339(at), "value": declared.in_kilo(value)}
    payload: dict[str, Any] = {"spaceship_id": parse_identifier(declared.identity), "units": units, "data": [row]}
    if declared.falls is None:
        payload["interval_minutes"] = "inferred"  # the first one waits for the second
    else:
        payload |= {"units": "kWh", "register": declared.name, "falls": declared.falls}
    return Publication(topic=RAW.template.topic(ship=declared.identity), payload=encode(payload), qos=RAW.qos)
