"""Home Assistant: entities announced by its MQTT discovery, and totals that only it needs.

Source: Home Assistant, "MQTT discovery": `<prefix>/<component>/<node_id>/<object_id>/config`, retained, with the prefix
`homeassistant` unless it was changed there. An empty message removes an entity.
"""

from typing import Any

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The discovery message of one entity. Names are Home Assistant's; a field that is left out has its default there."""

    unique_id: str
    name: str | None
    """Null: the entity has the name of its device."""
    device: dict[str, Any]
    availability: tuple[dict[str, str], ...]
    availability_mode: str = ""
    qos: int = 0
    retain: bool | None = None
    state_topic: str = ""
    value_template: str = ""
    unit_of_measurement: str = ""
    device_class: str = ""
    state_class: str = ""
    icon: str = ""
    options: tuple[str, ...] = ()
    payload_on: str = ""
    payload_off: str = ""
    entity_category: str = ""
    suggested_display_precision: int | None = None
    json_attributes_topic: str = ""
    modes: tuple[str, ...] = ()
    mode_state_topic: str = ""
    mode_state_template: str = ""
    action_topic: str = ""
    action_template: str = ""
    current_temperature_topic: str = ""
    current_temperature_template: str = ""
    temperature_state_topic: str = ""
    temperature_state_template: str = ""
    temperature_command_topic: str = ""
    temperature_command_template: str = ""
    temperature_unit: str = ""
    min_temp: float | None = None
    max_temp: float | None = None
    temp_step: float | None = None


class ShipTotal(msgspec.Struct, frozen=True):
    """The energy of all recorded quarters of a ship."""

    kwh: float


ENTITY = Stream(
    template=TopicTemplate("homeassistant/{component}/scaup/{object}/config"),
    payload=Entity,
    summary="home-assistant → Home Assistant: an entity of a room, machine, charger or ship",
    retain=True,
)
SHIP_TOTAL = Stream(
    template=TopicTemplate("homeassistant/scaup/ships/{ship}"),
    payload=ShipTotal,
    summary="home-assistant → Home Assistant: the energy of all recorded quarters",
    retain=True,
)
STREAMS: tuple[AnyStream, ...] = (ENTITY, SHIP_TOTAL)
