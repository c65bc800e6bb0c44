"""A declaration of a device, as read from its file. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.devices.modbus.declared import Modbus
from adapters.devices.send import Send
from adapters.devices.sparkplug.host import command_topic, edge_filter
from adapters.devices.values import Path, Rule
from broker.contract.charging.topics import SOC
from broker.contract.energy.topics import RAW
from broker.contract.heating.topics import READING as TEMPERATURE
from broker.contract.heating.topics import SETPOINT
from broker.contract.machines.topics import READING as MACHINE_READING

VALUE_UNITS = {"W": 1e-3, "kW": 1.0, "Wh": 1e-3, "kWh": 1.0}
REGISTER_UNITS = {"Wh": 1e-3, "kWh": 1.0, "MWh": 1e3}

_SHOWN = 200
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


class DeclarationError(ValueError):
    """Why a file cannot be used: `FILE:LINE: KIND.NAME.KEY: reason`, without the second part where nothing can be named."""

    def __init__(self, file: str, line: int, keys: tuple[str, ...], reason: str) -> None:
        self.file, self.line, self.keys, self.reason = file, line, keys, reason
        super().__init__(": ".join([f"{file}:{line}", *([".".join(keys)[:_SHOWN]] if keys else []), reason]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One declaration. `values` has the rules by field; `""` is that of a kind with a single value."""

    kind: str
    name: str
    file: str
    line: int
    source: str | None = None
    """The filter of its messages."""
    values: Mapping[str, Rule] = field(default_factory=dict)
    time: Path | None = None
    retained: bool = False
    identity: str = ""
    """The room, machine, ship or charger: the level of its topic."""
    label: str | None = None
    description: str | None = None
    unit: str | None = None
    falls: str | None = None
    """Of a cumulative register; None for a meter of other values."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Column → type, of a table."""
    to: str | None = None
    send: Send | None = None
    key_lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    """The line of each keyword."""
    modbus: Modbus | None = None
    """Where it is read, in place of a `source`."""

    @property
    def id(self) -> str:
        """`KIND.NAME`."""
        return f"{self.kind}.{self.name}"

    @property
    def topic(self) -> str | None:
        """The topic of the contract on which its readings are published, None for tables and for what only receives."""
        if self.source is None and self.modbus is None:
            return None
        match self.kind:
            case "sensor":
                return TEMPERATURE.template.topic(room=self.identity)
            case "setpoint":
                return SETPOINT.template.topic(room=self.identity)
            case "machine":
                return MACHINE_READING.template.topic(id=self.identity)
            case "meter":
                return RAW.template.topic(ship=self.identity)
            case "charger":
                return SOC.template.topic(id=self.identity)
        return None

    @property
    def publishes(self) -> tuple[str, ...]:
        """Every topic to which it may publish."""
        commands = command_topic(self.source) if self.source is not None else None
        return tuple(each for each in (self.topic, self.to, commands) if each is not None)

    @property
    def selects(self) -> str | None:
        """The filter of all messages that it needs: of an edge node of Sparkplug, those of the node's other devices too."""
        return None if self.source is None else edge_filter(self.source) or self.source

    def in_kilo(self, value: float) -> float:
        """Return a meter's value in kW or kWh."""
        return value * self.factor if self.factor >= 1 else value / round(1 / self.factor)  # 700 * 0.001 is not 0.7

    @property
    def factor(self) -> float:
        """What a meter's value is multiplied by, to kW or kWh."""
        units = VALUE_UNITS if self.falls is None else REGISTER_UNITS
        return units[self.unit or "kWh"]


def is_name(text: str) -> bool:
    """Return whether a declaration may have this NAME."""
    return _NAME.fullmatch(text) is not None
