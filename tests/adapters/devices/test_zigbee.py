"""Declarations for every device of Zigbee2MQTT, with the payloads that its converters make and the commands that they take."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from adapters.devices.declarations import check_together, read_file
from adapters.devices.mapper import Mapper
from adapters.devices.outputs import Outputs
from broker.contract.heating.topics import STATE, VALVE_LEVEL, HeatingState, ValveLevel
from broker.message import Message, Publication
from tests import peers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOW_AT = datetime(2026, 12, 1, tzinfo=UTC)
VALVES = ("valve_opening_degree", "valve_position", "heating_valve_position", "pi_heating_demand", "rod_position", "position")
WRITABLE = 2
"""In the access of a property."""


@cache
def _definitions() -> tuple[dict[str, Any], ...]:
    folder = peers.require("zigbee")
    done = subprocess.run(
        [peers.node(), "zigbee.cjs", "payloads"], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return tuple(json.loads(line) for line in done.stdout.splitlines())


def _with(name: str) -> list[dict[str, Any]]:
    return [each for each in _definitions() if name in each["properties"]]


def _mapped(template: str, name: str, value: float, least_made: int) -> int:
    """Map the payloads of all definitions with a property, each by its own declaration; return their number."""
    definitions = _with(name)
    declared = read_file("zigbee.toml", "\n".join(template.format(n=each["index"]) for each in definitions))
    check_together([declared])
    mapper, made = Mapper(), 0
    mapper.use(declared)
    for each in definitions:
        payload = each["payload"]
        if isinstance(payload.get(name), (int, float)):
            made += 1
        else:  # the converters want a message of a form that only this device sends
            payload = {**payload, name: value}
        taken = mapper.take(f"zigbee2mqtt/{each['index']}", json.dumps(payload).encode(), False, NOW_AT, NOW_AT)
        assert taken.reason is None, (each["model"], taken.reason)
        (publication,) = taken.publications
        body = json.loads(publication.payload)
        assert (body["data"][0] if "data" in body else body)["value"] == payload[name], each["model"]
    assert made >= least_made
    return len(definitions)


def test_every_temperature_is_mapped() -> None:
    sensor = '[sensor.z{n}]\nfrom = "zigbee2mqtt/{n}"\nroom = "z{n}"\nvalue = "temperature"\nrange = [-40, 250]\n'
    assert _mapped(sensor, "temperature", 21.5, least_made=430) == 436


def test_every_energy_register_is_mapped() -> None:
    meter = '[meter.z{n}]\nfrom = "zigbee2mqtt/{n}"\nship = "z{n}"\nregister = "energy"\nunit = "kWh"\n'
    assert _mapped(meter, "energy", 123.4, least_made=365) == 378


def test_every_thermostat_and_valve_takes_a_command() -> None:
    climates = _with("#climate")
    assert len(climates) == 228
    setpoints = [(each, next(name for name in each["properties"] if "heating_setpoint" in name), "") for each in climates]
    levels = []
    for each in climates:
        for name in VALVES:
            found = each["properties"].get(name, {})
            if found.get("access", 0) & WRITABLE:
                levels.append((each, name, ", scale = 2.55, range = [0, 255]" if found.get("value_max") == 255 else ""))
                break
    assert len(levels) == 13
    assert sum("2.55" in scale for _, _, scale in levels) == 3
    commands = [*_commands(setpoints, "setpoint"), *_commands(levels, "level")]
    assert len(commands) == 228 + 13
    done = subprocess.run(
        [peers.node(), "zigbee.cjs", "commands"],
        cwd=peers.FOLDER / "zigbee",
        input="\n".join(map(json.dumps, commands)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(commands)
    models = {each["index"]: each["model"] for each in climates}
    refused = [(models[each["index"]], each["error"]) for each in answers if each["error"]]
    assert refused == [("MEG5779", "nothing takes pi_heating_demand")]  # exposed as writable, but no converter writes it


def _commands(sends: Sequence[tuple[Mapping[str, Any], str, str]], of: str) -> list[dict[str, Any]]:
    """Declare a valve for each definition; return what it is sent."""
    template = '[valve.z{n}]\nto = "zigbee2mqtt/{n}/set"\nroom = "room"\nsend.{key} = {{ of = "{of}"{scale} }}\n'
    text = "\n".join(template.format(n=each["index"], key=key, of=of, scale=scale) for each, key, scale in sends)
    outputs = Outputs()
    outputs.use(read_file("zigbee.toml", text))
    level = VALVE_LEVEL.publication(ValveLevel(40), room="room")
    state = STATE.publication(HeatingState(level=40, setpoint=21.0, mode="heating", temperature=21.0), room="room")
    sent = [each for publication in (level, state) for each in outputs.take(_received(publication), 0.0)]
    return [{"index": int(each.topic.split("/")[1]), "payload": json.loads(each.payload)} for each in sent]


def _received(publication: Publication) -> Message:
    return Message(topic=publication.topic, payload=publication.payload)
