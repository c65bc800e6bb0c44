"""Declarations of devices."""

import pytest

from adapters.devices.declarations import check_together, read_file
from adapters.devices.declared import DeclarationError

GIVEN = """
[sensor.office]
from  = "zigbee2mqtt/office_thermo"
room  = "office"
value = "temperature"
time  = "last_seen"
range = [-20, 60]

[valve.office]
to   = "zigbee2mqtt/office_trv/set"
room = "office"
send.valve_opening_degree = { of = "level" }

[meter.ship-7]
from     = "shellypro3em-ab12/status/emdata:0"
ship     = 7
register = "total_act"
unit     = "Wh"
falls    = "ignore"

[machine.press7]
from    = "spBv1.0/plant/+/line1/press7"
machine = 41
value.temperature = "Temp/Oil 1"
value.fan_speed   = { of = "Drive.Fan", scale = 60 }

[table.pressure]
from = "press/+/state"
value.bar = { of = "p.bar", type = "double" }
"""


def test_reads_every_kind() -> None:
    sensor, valve, meter, machine, table = read_file("a.toml", GIVEN)
    assert (sensor.topic, sensor.source, sensor.time) == (
        "/readings/office/temperature",
        "zigbee2mqtt/office_thermo",
        ("last_seen",),
    )
    assert valve.to == "zigbee2mqtt/office_trv/set"
    assert valve.send is not None
    assert valve.send.payload({"level": 14}) == b'{"valve_opening_degree":14}'
    assert (meter.topic, meter.falls, meter.factor) == ("energy/7/raw", "ignore", 0.001)
    assert machine.values["temperature"].path == ("Temp/Oil 1",)
    assert machine.values["fan_speed"].path == ("Drive.Fan",)
    assert table.types == {"bar": "double"}


SENSOR = '[sensor.a]\nfrom = "x/y"\nroom = "r"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sensor.a", "f.toml:1: not TOML: "),
        ("[senor.a]\n", "f.toml:1: senor: unknown kind"),
        (SENSOR + 'valeu = "t"\n', "f.toml:4: sensor.a.valeu: unknown keyword"),
        (SENSOR + "value = 3\n", "f.toml:4: sensor.a.value: must be a path"),
        (SENSOR + "range = [3, 1]\n", "f.toml:4: sensor.a.range: must be [LOWEST, HIGHEST]"),
        (SENSOR + "scale = nan\n", "f.toml:4: sensor.a.scale: must be a number"),
        ('[sensor.a]\nfrom = "x/y"\n', "f.toml:1: sensor.a.room: is missing"),
        ('[sensor.a]\nfrom = "x/y"\nroom = "a/b"\n', "f.toml:3: sensor.a.room: 'a/b' cannot be a level"),
        ('[sensor.a]\nfrom = "/readings/#"\nroom = "r"\n', "f.toml:2: sensor.a.from: '/readings/#' matches topics of Scaup"),
        ('[sensor.a]\nfrom = "#"\nroom = "r"\n', "f.toml:2: sensor.a.from: '#' matches topics of Scaup"),
        ('[sensor.a]\nfrom = "a/#/b"\nroom = "r"\n', "f.toml:2: sensor.a.from: filter"),
        ('[valve.v]\nto = "x/+"\nroom = "r"\nsend = { of = "level" }\n', "f.toml:2: valve.v.to: topic"),
        ('[valve.v]\nto = "heating/r/setpoint"\nroom = "r"\nsend = { of = "level" }\n', "f.toml:2: valve.v.to: "),
        ('[valve.v]\nto = "x"\nroom = "r"\nsend.a = 1\n', "f.toml:4: valve.v.send: sends only constants"),
        ('[valve.v]\nto = "x"\nroom = "r"\nsend.a.b = { of = "leevl" }\n', "f.toml:4: valve.v.send.a.b.of: must be"),
        ('[machine.m]\nfrom = "x"\nmachine = "7"\nvalue.status = "s"\n', "f.toml:3: machine.m.machine: must be a whole"),
        ('[meter.m]\nfrom = "x"\nship = 7\nunit = "MWh"\n', "f.toml:4: meter.m.unit: must be one of W, kW, Wh, kWh"),
        ('[meter.m]\nfrom = "x"\nship = 7\nunit = "Wh"\nfalls = "reset"\n', "f.toml:5: meter.m.falls: belongs to"),
        ('[table.t]\nfrom = "x"\nvalue.a = "p"\n', "f.toml:3: table.t.value.a.type: must be one of double"),
        (SENSOR + f"scale = {10**400}\n", "f.toml:4: sensor.a.scale: an integer needs more than 64 bits"),
        (SENSOR + "scale = " + 5_000 * "9", "f.toml:1: an integer needs more than 64 bits"),
        ("a = " + 5_000 * "[", "f.toml:1: nested deeper than 32 levels"),
        (f'[valve.v]\nto = "x"\nroom = "r"\nsend.a = {40 * "["}{40 * "]"}\n', "f.toml:4: valve.v.send: nested deeper"),
        ("[sensor." + 201 * "a" + "]\n", "f.toml:1: sensor.aaa"),
    ],
)
def test_names_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(DeclarationError) as error:
        read_file("f.toml", text)
    assert str(error.value).startswith(message)
    assert len(str(error.value)) < 400


@pytest.mark.timeout(10)
def test_reads_lines_of_blanks_at_once() -> None:
    with pytest.raises(DeclarationError, match="valeu: unknown keyword") as error:
        read_file("f.toml", SENSOR + " " * 50_000 + "#\n" + 'valeu = "t"\n')
    assert str(error.value).startswith("f.toml:5:")


def test_refuses_to_feed_itself() -> None:
    declared = read_file("f.toml", SENSOR + '[valve.v]\nto = "x/y"\nroom = "r"\nsend = { of = "level" }\n')
    with pytest.raises(DeclarationError, match="receives what"):
        check_together([declared])


def test_refuses_a_name_twice_in_a_kind() -> None:
    with pytest.raises(DeclarationError, match="declared twice, also in"):
        check_together([read_file("f.toml", SENSOR), read_file("g.toml", SENSOR)])


def test_sends_numbers_that_are_no_exact_integers() -> None:
    (valve,) = read_file("f.toml", '[valve.v]\nto = "x"\nroom = "r"\nsend.a = { of = "level", scale = 1e20 }\n')
    assert valve.send is not None
    assert valve.send.payload({"level": 14}) == b'{"a":1.4e21}'
