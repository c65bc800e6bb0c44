"""Fastening: typed tables."""

from broker.contract.fastening.topics import CATALOG, EVENT
from broker.contract.table import Need, Table, array, boolean, integer, number, text

TABLES = (
    Table(
        name="fastening_log",
        stream=EVENT,
        levels={"driver": "driver"},
        columns=(
            text("event", need=Need.IDENTITY),
            text("job"),
            text("serial", need=Need.IDENTITY),
            text("part_number"),
            text("revision"),
            integer("step", 1, 1_000_000),
            number("torque_nm", need=Need.OPTIONAL),
            number("target_nm"),
            number("min_nm"),
            number("max_nm"),
            boolean("in_range"),
            boolean("voided", "void"),
            boolean("asked"),
            text("reason", need=Need.OPTIONAL),
        ),
        conditions=(array("results", need=Need.OPTIONAL),),
    ),
    Table(name="torque_catalog", stream=CATALOG, columns=(array("serials"), array("parts"))),
)
