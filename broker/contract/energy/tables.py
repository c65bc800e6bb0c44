"""Energy: typed tables."""

from broker.contract.energy.topics import ANOMALY, INTERVAL
from broker.contract.table import Column, Kind, Need, Table, instant, number, required_text, structs, text

_QUARTER = {
    "datetime": Kind.INSTANT,
    "value": Kind.NUMBER,
    "quality": Kind.TEXT,
    "coverage": Kind.NUMBER,
    "negative": Kind.BOOLEAN,
}
_SHIP = Column(name="payload_ship", key="spaceship_id", kind=Kind.IDENTIFIER, need=Need.OPTIONAL)

TABLES = (
    Table(
        name="energy_told",
        stream=INTERVAL,
        levels={"ship": "ship"},
        columns=(structs("quarters", _QUARTER, "data"),),
        conditions=(_SHIP, required_text("units", "kWh")),
    ),
    Table(
        name="energy_anomaly",
        stream=ANOMALY,
        levels={"ship": "ship"},
        columns=(
            instant("start_at", "datetime", need=Need.OPTIONAL),
            text("kind"),
            number("kwh", "value", need=Need.NULLABLE),
            number("expected_kwh", "expected", need=Need.NULLABLE),
            text("text"),
        ),
        conditions=(_SHIP,),
    ),
)
