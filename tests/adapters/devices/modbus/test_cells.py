import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.devices.modbus.cells import FORMATS, Cell, Registers, merged
from adapters.devices.values import ABSENT, Malformed


@pytest.mark.parametrize(
    ("type_", "words", "read", "value"),
    [
        ("int16", "big", [0xFFFE], -2),
        ("uint16", "big", [0xFFFE], 65_534),
        ("int32", "big", [0xFFFF, 0xFFFE], -2),
        ("int32", "little", [0xFFFE, 0xFFFF], -2),
        ("uint32", "big", [0x0001, 0x0000], 65_536),
        ("uint32", "little", [0x0000, 0x0001], 65_536),
        ("int64", "big", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], -1),
        ("uint64", "little", [1, 0, 0, 0], 1),
        ("float32", "big", [0x41C8, 0x0000], 25.0),
        ("float32", "little", [0x0000, 0x41C8], 25.0),
        ("float64", "big", [0x4039, 0, 0, 0], 25.0),
    ],
)
def test_types_and_word_orders(type_: str, words: str, read: list[int], value: float) -> None:
    cell = Cell("holding", 0, type_, words)
    assert cell.count == len(read)
    assert cell.value(read) == value


@given(st.sampled_from([name for name in FORMATS if "float" not in name]), st.sampled_from(["big", "little"]), st.data())
def test_whole_numbers_survive(type_: str, words: str, data: st.DataObject) -> None:
    size = struct.calcsize(FORMATS[type_]) * 8
    low = -(2 ** (size - 1)) if type_[0] == "i" else 0
    number = data.draw(st.integers(low, low + 2**size - 1))
    registers = [int(number % 2**size) >> shift & 0xFFFF for shift in range(size - 16, -1, -16)]
    assert Cell("input", 5, type_, words).value(registers if words == "big" else registers[::-1]) == number


@pytest.mark.parametrize(
    ("type_", "read", "exponent", "value"),
    [
        ("int16", [215], 0xFFFF, 21.5),
        ("int16", [215], 0, 215),
        ("uint32", [0, 12], 3, 12_000),
        ("int16", [215], 0x8000, ABSENT),
        ("int16", [0x8000], 0xFFFF, ABSENT),
        ("uint16", [0xFFFF], 0xFFFF, ABSENT),
        ("uint32", [0xFFFF, 0xFFFF], 0, ABSENT),
        ("float32", [0x7FC0, 0], 0, ABSENT),
    ],
)
def test_scale_factors(type_: str, read: list[int], exponent: int, value: object) -> None:
    assert Cell("holding", 100, type_, scale_from=101).value(read, exponent) == value


def test_a_power_of_ten_that_is_none() -> None:
    with pytest.raises(Malformed, match="register 101 is no power of ten: 300"):
        Cell("holding", 100, "int16", scale_from=101).value([1], 300)


def test_adjacent_registers_are_read_together() -> None:
    wanted = [
        Registers("holding", 10, 2),
        Registers("holding", 12, 1),
        Registers("holding", 11, 2),
        Registers("holding", 14, 1),
    ]
    wanted += [Registers("input", 12, 1), Registers("holding", 10, 2)]
    assert merged(wanted, 125) == [Registers("holding", 10, 3), Registers("holding", 14, 1), Registers("input", 12, 1)]
    assert merged([Registers("holding", 0, 4), Registers("holding", 4, 4)], 6) == [
        Registers("holding", 0, 4),
        Registers("holding", 4, 4),
    ]


registers = st.builds(Registers, st.sampled_from(["holding", "input"]), st.integers(0, 300), st.integers(1, 4))


@given(st.lists(registers, max_size=60))
def test_each_value_is_whole_in_one_request(wanted: list[Registers]) -> None:
    requests = merged(wanted, 125)
    assert all(each.count <= 125 for each in requests)
    for each in wanted:
        assert any(r.table == each.table and r.address <= each.address and each.stop <= r.stop for r in requests)
