"""Pumps: typed tables."""

from broker.contract.pumps.topics import FLOW
from broker.contract.table import Table, number

TABLES = (Table(name="pump_flow", stream=FLOW, levels={"id": "pump"}, columns=(number("litres_per_min"),)),)
