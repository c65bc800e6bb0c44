"""Heating: typed tables."""

from broker.contract.heating.topics import LONGEST_NAME, READING, VALVE_LEVEL
from broker.contract.table import Need, Table, integer, number, required_text, text

TABLES = (
    Table(
        name="room_temperature",
        stream=READING,
        levels={"room": "room"},
        columns=(text("sensor", "sensorID", Need.IDENTITY, LONGEST_NAME), number("celsius", "value")),
        conditions=(required_text("type", "temperature"),),
    ),
    Table(name="valve_level", stream=VALVE_LEVEL, levels={"room": "room"}, columns=(integer("level", 0, 100),)),
)
