"""Machines: typed tables."""

from broker.contract.identifiers import LARGEST_NUMBER
from broker.contract.machines.topics import AVERAGE, READING
from broker.contract.table import Need, Table, instant, integer, json_object, number, text

TABLES = (
    Table(
        name="machine_reading",
        stream=READING,
        levels={"id": "machine"},
        columns=(
            integer("id", -LARGEST_NUMBER, LARGEST_NUMBER),
            text("name", need=Need.NULLABLE),
            text("description", need=Need.NULLABLE),
            number("temperature"),
            number("fan_speed"),
            text("status", need=Need.NULLABLE),
            instant("timestamp", need=Need.OPTIONAL),
        ),
    ),
    Table(
        name="machine_average",
        stream=AVERAGE,
        levels={"id": "machine"},
        columns=(
            number("average_temperature", need=Need.NULLABLE),
            number("average_speed", need=Need.NULLABLE),
            text("status", need=Need.NULLABLE),
        ),
        conditions=(json_object("left_out", need=Need.OPTIONAL),),
    ),
)
