"""What a charger reports, in terms that both versions of OCPP share, and how its fields are read. Pure.

A field that is missing, or that cannot be used, is None: the rest of the message counts all the same.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.chargers.ocpp.frames import Unusable
from broker.stamp import rfc3339

ENERGY, SOC = "Energy.Active.Import.Register", "SoC"
LARGEST_KWH = 1e9
"""A register above it is taken for an error."""
LONGEST_TEXT = 255
_PER_KWH = {"wh": 1000, "kwh": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a meter measured at an instant (RFC 3339): its energy register, and the car's state of charge in %."""

    at: str
    register_kwh: float | None = None
    soc: float | None = None


def samples(meter_values: Any, now: datetime) -> list[Sample]:
    """Read the sampled values of a list of `MeterValue`, of either version; what is no such value is left out.

    Args:
        meter_values: decoded JSON.
        now: stands for an instant that is missing or cannot be read.
    """
    found = []
    for each in meter_values if isinstance(meter_values, list) else ():
        if isinstance(each, dict):
            values = [value for value in _list(each.get("sampledValue")) if isinstance(value, dict)]
            register, soc = _best(_registers(values)), _best(_socs(values))
            found.append(Sample(at=instant(each.get("timestamp"), now), register_kwh=register, soc=soc))
    return [each for each in found if each.register_kwh is not None or each.soc is not None]


def latest_soc(measured: list[Sample]) -> float | None:
    """Return the latest state of charge among samples."""
    socs = [(each.at, each.soc) for each in measured if each.soc is not None]
    return max(socs)[1] if socs else None


def instant(value: Any, now: datetime) -> str:
    """Read an instant; one without an offset is UTC, and `now` stands for one that cannot be read."""
    try:
        at = datetime.fromisoformat(value)
        return rfc3339(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (TypeError, ValueError, OverflowError):
        return rfc3339(now)


def number(value: Any) -> float | None:
    """Read a finite number, which OCPP 1.6 writes as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """Read a whole number from 0 to 2³¹ - 1."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() and 0 <= found < 2**31 else None


def text(value: Any) -> str | None:
    """Read a text of 1 to 255 characters; a longer one is cut."""
    return value[:LONGEST_TEXT] if isinstance(value, str) and value else None


def required(value: Any, field: str, action: str, code: str) -> Any:
    """Return a value, where there is one.

    Raises:
        Unusable: there is none, so the whole message cannot be used.
    """
    if value is None:
        raise Unusable(code, f"{action} without a usable {field}")
    return value


def kwh(register_wh: Any) -> float | None:
    """Read an energy register in Wh."""
    found = number(register_wh)
    return _in_range(found / 1000) if found is not None else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _registers(values: list[dict[str, Any]]) -> Iterator[tuple[int, float]]:
    for each in values:
        signed = each.get("format") == "SignedData"
        if not signed and (each.get("measurand") or ENERGY) == ENERGY and (value := number(each.get("value"))) is not None:
            unit, multiplier = _unit(each)
            energy = _in_range(value * 10.0**multiplier / _PER_KWH[unit]) if unit in _PER_KWH else None
            if energy is not None:
                yield _rank(each), energy


def _socs(values: list[dict[str, Any]]) -> Iterator[tuple[int, float]]:
    for each in values:
        value = number(each.get("value"))
        if each.get("measurand") == SOC and value is not None and 0 <= value <= 100:
            yield 0, value


def _unit(each: dict[str, Any]) -> tuple[str, int]:
    """Return the unit of an energy, in lower case, and the exponent of 2.0.1: Wh and 0 where they are missing."""
    of_201 = each.get("unitOfMeasure")
    unit, multiplier = (of_201.get("unit"), _exponent(of_201.get("multiplier"))) if isinstance(of_201, dict) else ("", 0)
    return str(each.get("unit") or unit or "Wh").lower(), multiplier


def _exponent(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and -12 <= value <= 12 else 0


def _rank(each: dict[str, Any]) -> int:
    """Prefer the sum over all phases, at the outlet, to a single phase or another place."""
    return 2 * (each.get("phase") is not None) + ((each.get("location") or "Outlet") != "Outlet")


def _best(found: Iterable[tuple[int, float]]) -> float | None:
    ranked = sorted(found, key=lambda each: each[0])
    return ranked[0][1] if ranked else None


def _in_range(value: float) -> float | None:
    return value if 0 <= value <= LARGEST_KWH else None
