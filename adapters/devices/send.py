"""What a declaration sends to a device: a payload with the level or the setpoint in it. Pure.

`send.valve_opening_degree = { of = "level" }` sends `{"valve_opening_degree": 14}`, dotted keys nest, constants are sent as
they are, and `send = { of = "level" }` sends `14`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from adapters.devices.values import Scalar, text_of
from broker.message import encode

LEVEL, SETPOINT = "level", "setpoint"
"""What can be sent: the valve opening, 0..100, or the °C that the device is to be set to."""
DIGITS = 6
"""Decimals that are sent: 14 * 2.55 is 35.7, not 35.699999999999996."""

EXACT = 2**53
"""Whole numbers below it are sent without a decimal point."""

_KEYWORDS = frozenset({"of", "scale", "offset", "map", "range"})


class SendError(ValueError):
    """Why `send` cannot be used; `keys` lead to the place below it."""

    def __init__(self, keys: tuple[str, ...], reason: str) -> None:
        super().__init__(reason)
        self.keys, self.reason = keys, reason


class NotInMap(ValueError):
    """A value for which a map has no entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A place in the payload that depends on an input: scale, offset, then clamped to the range, then the map."""

    of: str
    scale: float = 1.0
    offset: float = 0.0
    map: Mapping[str, Scalar] | None = None
    low: float = -math.inf
    high: float = math.inf

    def value(self, value: float) -> Scalar:
        """Return what is sent for an input.

        Raises:
            NotInMap: the map has no entry for it.
        """
        if self.map is not None:
            text = text_of(value) or ""
            if text not in self.map:
                raise NotInMap(f"{text} is not in the map")
            mapped = self.map[text]
            if isinstance(mapped, (bool, str)):
                return mapped
            value = mapped
        result = round(min(max(value * self.scale + self.offset, self.low), self.high), DIGITS)
        return int(result) if float(result).is_integer() and abs(result) < EXACT else result


@dataclass(frozen=True, slots=True)
class Send:
    """The payload: a `Sent`, or an object in which constants and further `Sent` are nested."""

    template: Any
    inputs: frozenset[str]
    """Which of `level` and `setpoint` it needs."""

    def payload(self, inputs: Mapping[str, float]) -> bytes:
        """Return the payload for these inputs, one for each of `self.inputs`.

        Raises:
            NotInMap: a map has no entry for one of them.
        """
        return encode(_filled(self.template, inputs))


def read_send(given: Any, kind: str) -> Send:
    """Read the keyword `send` of a valve or a setpoint.

    Raises:
        SendError: it cannot be used.
    """
    if not isinstance(given, dict) or not given:
        raise SendError((), 'must be { of = "level" }, or send.KEY = …')
    inputs: set[str] = set()
    template = _read((), given, inputs)
    if not inputs:
        raise SendError((), 'sends only constants: one key must be { of = "level" } or { of = "setpoint" }')
    if kind == "setpoint" and LEVEL in inputs:
        raise SendError((), 'a setpoint sends { of = "setpoint" } only; [valve.NAME] sends levels')
    return Send(template, frozenset(inputs))


def _read(keys: tuple[str, ...], given: Any, inputs: set[str]) -> Any:
    if isinstance(given, dict):
        if "of" in given and not isinstance(given["of"], dict):
            found = _read_sent(keys, given)
            inputs.add(found.of)
            return found
        return {key: _read((*keys, key), each, inputs) for key, each in given.items()}
    if isinstance(given, list):
        return [_read(keys, each, inputs) for each in given]
    if isinstance(given, (bool, int, str)) or (isinstance(given, float) and math.isfinite(given)):
        return given
    raise SendError(keys, "must be a text, a number, true, false, or { of = … }")


def _read_sent(keys: tuple[str, ...], given: Mapping[str, Any]) -> Sent:
    for key in given:
        if key not in _KEYWORDS:
            raise SendError((*keys, key), f"unknown keyword, expected one of {', '.join(sorted(_KEYWORDS))}")
    if given["of"] not in (LEVEL, SETPOINT):
        raise SendError((*keys, "of"), f'must be "{LEVEL}" or "{SETPOINT}"')
    low, high = -math.inf, math.inf
    if (bounds := given.get("range")) is not None:
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise SendError((*keys, "range"), "must be [LOWEST, HIGHEST]")
        low, high = (_number((*keys, "range"), each) for each in bounds)
        if low > high:
            raise SendError((*keys, "range"), "must be [LOWEST, HIGHEST]")
    table = given.get("map")
    if table is not None and (not isinstance(table, dict) or not table):
        raise SendError((*keys, "map"), "must be { TEXT = VALUE, … }")
    for text, value in (table or {}).items():
        if not isinstance(value, (bool, int, str)) and not (isinstance(value, float) and math.isfinite(value)):
            raise SendError((*keys, "map", text), "must be a text, a number, true or false")
    return Sent(
        of=given["of"],
        scale=_number((*keys, "scale"), given.get("scale", 1.0)),
        offset=_number((*keys, "offset"), given.get("offset", 0.0)),
        map=table,
        low=low,
        high=high,
    )


def _number(keys: tuple[str, ...], given: Any) -> float:
    if type(given) not in (int, float) or not math.isfinite(given):
        _not_a_number(keys)
    return float(given)


def _not_a_number(keys: tuple[str, ...]) -> NoReturn:
    raise SendError(keys, "must be a number")


def _filled(template: Any, inputs: Mapping[str, float]) -> Any:
    if isinstance(template, Sent):
        return template.value(inputs[template.of])
    if isinstance(template, dict):
        return {key: _filled(each, inputs) for key, each in template.items()}
    return [_filled(each, inputs) for each in template] if isinstance(template, list) else template
