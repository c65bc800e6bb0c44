"""The keywords of a declaration that is read by Modbus, in place of `from`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.devices.modbus.cells import FORMATS, MOST_ADDRESSES, TABLES, WORDS, Cell

KINDS = ("sensor", "setpoint", "machine", "meter", "charger")
KEYWORDS = frozenset({"modbus", "unit_id", "every"})
CELL = frozenset({"address", "table", "type", "words", "scale_from"})
RULE = frozenset({"map", "scale", "offset", "range"})
"""The keywords of a value that have a meaning for numbers."""
WITHOUT_MEANING = ("from", "time", "retained", "pick", "default", "strip", "number", "to", "send")
PORT = 502
SHORTEST_S, LONGEST_S = 0.1, 86_400.0
SINGLE = "value"
"""Name of the only value of a kind that has no fields."""

_EVERY = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+))(?::(\d{1,5}))?")


class ModbusError(ValueError):
    """What is wrong with a keyword."""

    def __init__(self, keys: tuple[str, ...], reason: str) -> None:
        self.keys, self.reason = keys, reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Modbus:
    """Where and how often a device is read, and the cells of its values by field."""

    host: str
    port: int
    unit_id: int
    every_s: float
    cells: Mapping[str, Cell]

    @property
    def server(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def address(self) -> str:
        """Host and port as a text, with the unit."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"modbus://{host}:{self.port}/{self.unit_id}"


def read_modbus(kind: str, content: Mapping[str, Any]) -> tuple[Modbus, dict[str, Any]]:
    """Return what a declaration with `modbus` reads, and its other keywords: those of a message with a field for each value.

    Raises:
        ModbusError: a keyword is wrong.
    """
    if kind not in KINDS:
        raise ModbusError(("modbus",), f"a {kind} is not read by Modbus, only {', '.join(KINDS)}")
    for key in WITHOUT_MEANING:
        if key in content:
            reason = "has no meaning beside `modbus`, which reads numbers from registers"
            raise ModbusError((key,), "goes with `from`, not with `modbus`" if key == "from" else reason)
    rest = {key: value for key, value in content.items() if key not in KEYWORDS}
    cells: dict[str, Cell] = {}
    if kind == "machine":
        fields = _needed(content, (), "value")
        if not isinstance(fields, dict) or not fields:
            raise ModbusError(("value",), "must have fields: value.FIELD = { address = …, type = … }")
        rest["value"] = {}
        for name, given in fields.items():
            cells[name], rules = _cell(("value", name), given)
            rest["value"][name] = {"of": name, **rules}
    else:
        key = "register" if "register" in content else "value"
        cells[SINGLE], rules = _cell((key,), _needed(content, (), key))
        for name in rules:
            if name in content:
                raise ModbusError((name,), f"is in `{key}` too: which counts?")
        rest |= {key: SINGLE, **rules}
    host, port = _server(content["modbus"])
    return Modbus(host, port, _whole(("unit_id",), content.get("unit_id", 1), 0, 255), _every(content), cells), rest


def _needed(content: Mapping[str, Any], keys: tuple[str, ...], key: str) -> Any:
    if key not in content:
        raise ModbusError((*keys, key), "is missing")
    return content[key]


def _cell(keys: tuple[str, ...], given: Any) -> tuple[Cell, dict[str, Any]]:
    if not isinstance(given, dict):
        raise ModbusError(keys, "must be { address = …, type = … }")
    for key in given:
        if key not in CELL | RULE:
            raise ModbusError((*keys, key), f"unknown keyword, expected one of {', '.join(sorted(CELL | RULE))}")
    cell = Cell(
        table=_one_of((*keys, "table"), given.get("table", "holding"), TABLES),  # type: ignore[arg-type]
        address=_whole((*keys, "address"), _needed(given, keys, "address"), 0, MOST_ADDRESSES - 1),
        type=_one_of((*keys, "type"), _needed(given, keys, "type"), tuple(FORMATS)),
        words=_one_of((*keys, "words"), given.get("words", "big"), WORDS),
        scale_from=None
        if "scale_from" not in given
        else _whole((*keys, "scale_from"), given["scale_from"], 0, MOST_ADDRESSES - 1),
    )
    if cell.address + cell.count > MOST_ADDRESSES:
        raise ModbusError((*keys, "address"), f"a {cell.type} there would end beyond the last address, {MOST_ADDRESSES - 1}")
    return cell, {key: value for key, value in given.items() if key in RULE}


def _server(given: Any) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(given) if isinstance(given, str) else None
    port = int(found[3] or PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise ModbusError(("modbus",), f"must be HOST or HOST:PORT, such as 192.168.1.20:{PORT}")
    return found[1] or found[2], port


def _every(content: Mapping[str, Any]) -> float:
    given = content.get("every", "10s")
    found = _EVERY.fullmatch(given) if isinstance(given, str) else None
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ModbusError(("every",), "must be a time from 100ms to 24h, such as 10s or 1m")
    return seconds


def _whole(keys: tuple[str, ...], given: Any, lowest: int, highest: int) -> int:
    if type(given) is not int or not lowest <= given <= highest:
        raise ModbusError(keys, f"must be a whole number from {lowest} to {highest}")
    return given


def _one_of(keys: tuple[str, ...], given: Any, known: tuple[str, ...]) -> str:
    if given not in list(known):
        raise ModbusError(keys, f"must be one of {', '.join(known)}")
    return str(given)
