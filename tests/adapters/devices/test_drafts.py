"""Proposed declarations."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.devices.declarations import check_together, read_file
from adapters.devices.declared import Declared
from adapters.devices.drafts import draft


def _draft(topic: str, *payloads: Any, discovery: Sequence[Any] = ()) -> tuple[Declared, ...]:
    """Return the draft, read as `check` reads it."""
    encoded = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in payloads]
    found = read_file("f.toml", draft(topic, encoded, [json.dumps(each).encode() for each in discovery]))
    check_together([found])
    return found


def test_thermostat_of_zigbee2mqtt() -> None:
    payload = {"local_temperature": 21.5, "occupied_heating_setpoint": 20, "last_seen": "2026-12-01T10:00:00Z"}
    sensor, valve = _draft("zigbee2mqtt/office trv", payload)
    assert (sensor.id, sensor.values[""].path, sensor.time) == ("sensor.office-trv", ("local_temperature",), ("last_seen",))
    assert valve.to == "zigbee2mqtt/office trv/set"
    assert valve.send is not None
    assert valve.send.payload({"setpoint": 21.0}) == b'{"occupied_heating_setpoint":21}'


def test_meter_of_shelly() -> None:
    (meter,) = _draft("shellypro3em-ab12/status/emdata:0", {"id": 0, "total_act": 1234.5})
    assert (meter.kind, meter.values[""].path, meter.unit, meter.falls) == ("meter", ("total_act",), "Wh", "ignore")


@pytest.mark.parametrize("payload", [b"21.5", b"ON", b"\xff", b"", {"a.b": {"": 1, "c": [1, {"d": True}]}}, {}, [None]])
def test_passes_check_whatever_was_recorded(payload: Any) -> None:
    assert _draft("plant/7", payload)


def test_follows_home_assistant_discovery() -> None:
    discovery = {
        "~": "rack",
        "state_topic": "~/b2/state",
        "value_template": "{{ value_json['rack.1'].t | round(1) }}",
        "unit_of_measurement": "°C",
        "device_class": "temperature",
    }
    (sensor,) = _draft("rack/b2/state", {"rack.1": {"t": 3}}, discovery=[discovery])
    assert (sensor.kind, sensor.values[""].path) == ("sensor", ("rack.1", "t"))


def test_several_entities_of_one_topic_have_their_own_names() -> None:
    template = {"state_topic": "plug/1", "value_template": "{{ value_json.energy }}"}
    energy = {**template, "device_class": "energy", "unit_of_measurement": "kWh"}
    power = {**energy, "value_template": "{{ value_json.power }}", "device_class": "power", "unit_of_measurement": "W"}
    found = _draft("plug/1", {"energy": 1.5, "power": 20}, discovery=[energy, power])
    assert [(each.id, each.unit, each.falls) for each in found] == [
        ("meter.plug", "kWh", "ignore"),
        ("meter.plug-2", "W", None),
    ]
