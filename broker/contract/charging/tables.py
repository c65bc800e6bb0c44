"""Charging: typed tables."""

from broker.contract.charging.topics import PAIRS, SESSION, SOC, STATUS, Status
from broker.contract.table import (
    Need,
    Table,
    choice,
    inside,
    instant,
    integer,
    json_object,
    number,
    percentage,
    required_text,
    text,
)

TABLES = (
    Table(
        name="charger_soc",
        stream=SOC,
        levels={"id": "charger"},
        columns=(inside("data", percentage("soc")),),
        conditions=(required_text("event", "StateOfCharge"),),
    ),
    Table(
        name="widget_status",
        stream=STATUS,
        levels={"id": "widget"},
        columns=(inside("data", choice("status", Status)),),
        conditions=(required_text("event", "chargingStatus"),),
    ),
    Table(
        name="charging_told",
        stream=SESSION,
        levels={"id": "charger"},
        columns=(
            text("session", need=Need.IDENTITY),
            text("widget", need=Need.NULLABLE),
            instant("started_at"),
            number("soc_start", need=Need.NULLABLE),
            instant("ended_at", need=Need.NULLABLE),
            number("soc_end", need=Need.NULLABLE),
            number("duration_s", need=Need.NULLABLE),
            text("ended_by", need=Need.NULLABLE),
            integer("connector", 0, 2**31 - 1, need=Need.NULLABLE),
            number("kwh", need=Need.NULLABLE),
        ),
    ),
    Table(name="charging_pairs", stream=PAIRS, columns=(json_object("pairs", need=Need.IDENTITY),)),
)
