"""The entities of a room, a machine, a charger and a ship, as Home Assistant's MQTT discovery describes them. Pure.

Every entity reads the topics that Scaup publishes anyway, through a template, and is unavailable while the component that
publishes them is offline. A climate entity publishes a setpoint as an operator does: on `heating/{room}/setpoint`, retained.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.contract.charging.topics import STATE as CHARGER
from broker.contract.charging.topics import Status
from broker.contract.components.topics import STATE as COMPONENT
from broker.contract.heating.topics import HIGHEST_SETPOINT_C, LOWEST_SETPOINT_C, SETPOINT
from broker.contract.heating.topics import STATE as ROOM
from broker.contract.home_assistant.topics import ENTITY, SHIP_TOTAL, Entity
from broker.contract.machines.topics import AVERAGE
from broker.message import Publication

SETPOINT_STEP_C = 0.5


@dataclass(frozen=True, slots=True)
class Thing:
    """A room, machine, charger or ship."""

    kind: str
    name: str

    @property
    def id(self) -> str:
        """Letters, digits, `_` and `-`, all that Home Assistant allows, and different for different names."""
        escaped = re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):x}_", self.name)
        return f"{self.kind}-{escaped}"


def announce(thing: Thing) -> list[Publication]:
    """Return the discovery messages of a thing's entities."""
    return [
        ENTITY.publication(entity, component=component, object=f"{thing.id}-{key}")
        for (component, key), entity in _ENTITIES[thing.kind](thing).items()
    ]


def withdraw(thing: Thing) -> list[Publication]:
    """Return the messages that remove a thing's entities from Home Assistant, and what is retained for them."""
    topics = [each.topic for each in announce(thing)]
    if thing.kind == "ship":
        topics.append(SHIP_TOTAL.template.topic(ship=thing.name))
    return [Publication(topic=topic, payload=b"", qos=1, retain=True) for topic in topics]


def _room(thing: Thing) -> Mapping[tuple[str, str], Entity]:
    state = ROOM.template.topic(room=thing.name)
    common = _common(thing, "Room", "heating")
    return {
        ("climate", "climate"): _entity(
            common,
            "climate",
            None,
            current_temperature_topic=state,
            current_temperature_template=_or_none("temperature"),
            temperature_state_topic=state,
            temperature_state_template="{{ value_json.setpoint }}",
            temperature_command_topic=SETPOINT.template.topic(room=thing.name),
            temperature_command_template='{"celsius": {{ value }}}',
            temperature_unit="C",
            min_temp=LOWEST_SETPOINT_C,
            max_temp=HIGHEST_SETPOINT_C,
            temp_step=SETPOINT_STEP_C,
            modes=("heat",),
            mode_state_topic=state,
            mode_state_template="heat",
            action_topic=state,
            action_template="{{ 'heating' if value_json.level > 0 else 'idle' }}",
            json_attributes_topic=state,
            retain=True,
        ),
        ("sensor", "temperature"): _sensor(common, state, "temperature", "Temperature", "°C", "temperature", 1),
        ("sensor", "valve"): _sensor(common, state, "level", "Valve", "%", "", 0, icon="mdi:valve"),
        ("binary_sensor", "problem"): _entity(
            common,
            "problem",
            "Problem",
            state_topic=state,
            value_template="{{ 'ON' if value_json.alarms else 'OFF' }}",
            device_class="problem",
            entity_category="diagnostic",
        ),
    }


def _machine(thing: Thing) -> Mapping[tuple[str, str], Entity]:
    average = AVERAGE.template.topic(id=thing.name)
    common = _common(thing, "Machine", "moving-average")
    return {
        ("sensor", "temperature"): _sensor(common, average, "average_temperature", "Temperature", "°C", "temperature", 1),
        ("sensor", "speed"): _sensor(common, average, "average_speed", "Fan speed", "rpm", "", 0, icon="mdi:fan"),
        ("sensor", "status"): _entity(
            common, "status", "Status", state_topic=average, value_template=_or_none("status"), icon="mdi:list-status"
        ),
    }


def _charger(thing: Thing) -> Mapping[tuple[str, str], Entity]:
    state = CHARGER.template.topic(id=thing.name)
    common = _common(thing, "Charger", "charging")
    return {
        ("sensor", "soc"): _sensor(common, state, "soc", "State of charge", "%", "battery", 0),
        ("sensor", "status"): _entity(
            common,
            "status",
            "Status",
            state_topic=state,
            value_template="{{ value_json.status }}",
            device_class="enum",
            options=tuple(each.value for each in Status),
        ),
        ("binary_sensor", "charging"): _entity(
            common,
            "charging",
            "Charging",
            state_topic=state,
            value_template="{{ 'ON' if value_json.session else 'OFF' }}",
            device_class="battery_charging",
        ),
        ("binary_sensor", "connection"): _entity(
            common,
            "connection",
            "Connection",
            state_topic=state,
            value_template="{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
            device_class="connectivity",
            entity_category="diagnostic",
        ),
    }


def _ship(thing: Thing) -> Mapping[tuple[str, str], Entity]:
    total = SHIP_TOTAL.template.topic(ship=thing.name)
    common = _common(thing, "Ship", "home-assistant")
    entity = _sensor(common, total, "kwh", "Energy", "kWh", "energy", 2)
    return {("sensor", "energy"): msgspec.structs.replace(entity, state_class="total")}  # a revised quarter can lower it


_ENTITIES = {"room": _room, "machine": _machine, "charger": _charger, "ship": _ship}
KINDS = tuple(_ENTITIES)


def _common(thing: Thing, model: str, component: str) -> dict[str, Any]:
    presence = {
        "topic": COMPONENT.template.topic(component=component),
        "value_template": "{{ value_json.state }}",
    }  # Home Assistant's own words for it are `online` and `offline`, too
    device = {"identifiers": [f"scaup-{thing.id}"], "name": thing.name, "model": model, "manufacturer": "Scaup"}
    if thing.kind in ("machine", "ship"):
        device["name"] = f"{model} {thing.name}"
    return {"thing": thing, "device": device, "availability": (presence,)}


def _entity(common: Mapping[str, Any], key: str, name: str | None, **more: Any) -> Entity:
    own = {each: common[each] for each in ("device", "availability")}
    return Entity(unique_id=f"scaup-{common['thing'].id}-{key}", name=name, qos=1, **own, **more)


def _sensor(
    common: Mapping[str, Any], topic: str, field: str, name: str, unit: str, device_class: str, precision: int, **more: Any
) -> Entity:
    return _entity(
        common,
        field,
        name,
        state_topic=topic,
        value_template=_or_none(field),
        unit_of_measurement=unit,
        device_class=device_class,
        state_class="measurement",
        suggested_display_precision=precision,
        **more,
    )


def _or_none(field: str) -> str:
    """Return a template for a field that may be null; `None` is Home Assistant's word for an unknown value."""
    return f"{{{{ value_json.{field} }}}}"
