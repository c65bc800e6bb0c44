"""Values in Modbus registers of 16 bits: how many registers a type has, and what they mean. Pure.

Sources: Modbus Application Protocol 1.1b3, sections 4.3 and 6; for scale factors and values that are not there, SunSpec Device
Information Model Specification 1.1, section 4.2.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adapters.devices.values import ABSENT, Absent, Malformed

Table = Literal["holding", "input"]
TABLES: tuple[Table, ...] = ("holding", "input")
FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
WORDS = ("big", "little")
MOST_ADDRESSES = 65_536
LARGEST_EXPONENT = 10
_NOT_THERE = {name: (-(2 ** (int(name[3:]) - 1)) if name[0] == "i" else 2 ** int(name[4:]) - 1) for name in list(FORMATS)[:6]}
"""SunSpec's value of each whole type for what a device does not have; not a number for those of floating point."""


@dataclass(frozen=True, slots=True)
class Registers:
    """Adjacent registers of a table. The address is that of the protocol, from 0."""

    table: Table
    address: int
    count: int

    @property
    def stop(self) -> int:
        """The first address behind them."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in registers. `words`: which of its registers comes first, that of the highest or of the lowest bits.

    `scale_from` is the address of a register with the power of ten that the value is multiplied by.
    """

    table: Table
    address: int
    type: str
    words: str = "big"
    scale_from: int | None = None

    @property
    def count(self) -> int:
        """How many registers it has."""
        return struct.calcsize(FORMATS[self.type]) // 2

    @property
    def needs(self) -> tuple[Registers, ...]:
        """The registers to read for it."""
        own = Registers(self.table, self.address, self.count)
        return (own,) if self.scale_from is None else (own, Registers(self.table, self.scale_from, 1))

    def value(self, read: Sequence[int], exponent: int | None = None) -> float | Absent:
        """Return the value of its registers, `ABSENT` where SunSpec's marks say that the device has none.

        Args:
            read: its registers, each 0..65535.
            exponent: the register of `scale_from`, 0..65535.

        Raises:
            Malformed: the power of ten is none.
        """
        ordered = read if self.words == "big" else tuple(reversed(read))
        number: float = struct.unpack(FORMATS[self.type], struct.pack(f">{len(ordered)}H", *ordered))[0]
        if exponent is None:
            return number
        power = exponent - 0x1_0000 if exponent & 0x8000 else exponent
        if power == -0x8000 or number == _NOT_THERE.get(self.type) or math.isnan(number):
            return ABSENT
        if abs(power) > LARGEST_EXPONENT:
            raise Malformed(f"register {self.scale_from} is no power of ten: {power}")
        factor: int = 10 ** abs(power)
        return number * factor if power >= 0 else number / factor


@dataclass(frozen=True, slots=True)
class Polled:
    """What came of reading a device: its values by field, or an error.

    `registers` has what was read, by table and address; with an error it is what cannot be used.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    is_online: bool = True
    registers: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


def merged(wanted: Sequence[Registers], most: int) -> list[Registers]:
    """Return requests for all registers wanted: those that are adjacent or overlap are read together, `most` at once.

    A value is never read in two requests, since it may change between them.
    """
    found: list[Registers] = []
    for each in sorted(set(wanted), key=lambda each: (each.table, each.address, each.count)):
        last = found[-1] if found else None
        if last is not None and last.table == each.table and each.address <= last.stop:
            stop = max(last.stop, each.stop)
            if stop - last.address <= most:
                found[-1] = Registers(last.table, last.address, stop - last.address)
                continue
        found.append(each)
    return found
