from datetime import UTC, datetime

import pytest

from adapters.devices.declarations import read_file
from adapters.devices.declared import DeclarationError, Declared
from adapters.devices.mapper import Mapper
from adapters.devices.modbus.cells import Cell, Polled
from adapters.devices.values import Rule

METER = """
[meter.heatpump]
modbus   = "192.168.1.20"
ship     = 9
register = { address = 40072, type = "float32", words = "little", scale = 2 }
unit     = "kWh"
"""
PUMP = """
[machine.pump]
modbus  = "plc:1502"
unit_id = 3
every   = "500ms"
machine = 12
value.temperature = { address = 100, table = "input", type = "int16", scale_from = 101 }
value.status      = { address = 7, type = "uint16", map = { 0 = "IDLE", 1 = "STARTED" } }
"""


def declared(text: str) -> Declared:
    (found,) = read_file("modbus.toml", text)
    return found


def test_a_meter() -> None:
    meter = declared(METER)
    assert meter.modbus is not None
    assert (meter.modbus.server, meter.modbus.unit_id, meter.modbus.every_s) == (("192.168.1.20", 502), 1, 10.0)
    assert meter.modbus.cells == {"value": Cell("holding", 40_072, "float32", "little")}
    assert meter.values == {"": Rule(path=("value",), scale=2)}
    assert (meter.source, meter.falls, meter.unit, meter.topic) == (None, "ignore", "kWh", "energy/9/raw")


def test_a_machine() -> None:
    pump = declared(PUMP)
    assert pump.modbus is not None
    assert (pump.modbus.server, pump.modbus.unit_id, pump.modbus.every_s) == (("plc", 1502), 3, 0.5)
    assert pump.modbus.cells["temperature"] == Cell("input", 100, "int16", scale_from=101)
    assert pump.values["status"].map == {"0": "IDLE", "1": "STARTED"}


@pytest.mark.parametrize(
    ("modbus", "server"), [("plc", ("plc", 502)), ("[fd00::1]:503", ("fd00::1", 503)), ("10.0.0.1:1", ("10.0.0.1", 1))]
)
def test_addresses(modbus: str, server: tuple[str, int]) -> None:
    found = declared(METER.replace("192.168.1.20", modbus)).modbus
    assert found is not None
    assert found.server == server


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ('"192.168.1.20"', '"a:b"', "modbus: must be HOST or HOST:PORT"),
        ('"192.168.1.20"', '"a:70000"', "modbus: must be HOST or HOST:PORT"),
        ('"192.168.1.20"', "5", "modbus: must be HOST or HOST:PORT"),
        ("ship     = 9", 'ship = 9\nfrom = "a/b"', "from: goes with `from`, not with `modbus`"),
        ("ship     = 9", 'ship = 9\ntime = "t"', "time: has no meaning beside `modbus`"),
        ("ship     = 9", "ship = 9\nunit_id = 256", "unit_id: must be a whole number from 0 to 255"),
        ("ship     = 9", 'ship = 9\nevery = "1ms"', "every: must be a time from 100ms to 24h"),
        ("ship     = 9", "ship = 9\nevery = 10", "every: must be a time from 100ms to 24h"),
        ("ship     = 9", "ship = 9\nscale = 3", "scale: is in `register` too"),
        ("ship     = 9", "", "ship: is missing"),
        ("40072", "65535", "register.address: a float32 there would end beyond the last address"),
        ("40072", '"40072"', "register.address: must be a whole number from 0 to 65535"),
        ("address = 40072, ", "", "register.address: is missing"),
        ('"float32"', '"float16"', "register.type: must be one of int16"),
        ('"little"', '"middle"', "register.words: must be one of big, little"),
        ("scale = 2", "factor = 2", "register.factor: unknown keyword"),
        ("scale = 2", 'table = "coils"', "register.table: must be one of holding, input"),
        ("meter.heatpump", "table.heatpump", "modbus: a table is not read by Modbus"),
        ('register = { address = 40072, type = "float32", words = "little", scale = 2 }', "", "value: is missing"),
    ],
)
def test_mistakes_are_named(before: str, after: str, error: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        declared(METER.replace(before, after))
    assert f".heatpump.{error}" in str(raised.value)


def test_without_modbus_its_keywords_are_unknown() -> None:
    with pytest.raises(DeclarationError, match="unknown keyword of a sensor"):
        declared('[sensor.a]\nfrom = "a"\nroom = "a"\nunit_id = 1\n')


def test_a_declaration_by_modbus_needs_no_topic() -> None:
    mapper = Mapper()
    mapper.use([declared(METER)])
    assert mapper.route("modbus") == ()


def test_what_was_read_and_cannot_be_used_is_rejected() -> None:
    mapper, at = Mapper(), datetime(2026, 12, 1, tzinfo=UTC)
    mapper.use([declared(PUMP)])
    for polled, reason in (
        (Polled({"status": 7}, registers={"holding": {7: 7}}), "machine.pump: 7 is not in the map"),
        (Polled(error="register 101 is no power of ten: 300", registers={"input": {101: 300}}), "machine.pump: register 101"),
    ):
        taken = mapper.take_polled("machine.pump", polled, at, at)
        assert (taken.reason or "").startswith(reason)
        assert taken.publications == []
    lost = mapper.take_polled("machine.pump", Polled(error="plc:1502 cannot be reached", is_online=False), at, at)
    assert (lost.reason, mapper.links) == (None, {"machine.pump": "offline"})
    assert mapper.counts["machine.pump"].error == "plc:1502 cannot be reached"
    mapper.take_polled("machine.pump", Polled({"temperature": 21.5}), at, at)
    counts = mapper.counts["machine.pump"]
    assert (counts.mapped, counts.rejected, counts.error, mapper.links["machine.pump"]) == (1, 2, None, "online")
