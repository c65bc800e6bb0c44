"""Pumps: statements for `scaup pumps`."""

from broker.contract.sql import Statement

_FLOWS = """
SELECT pump, count(*) AS readings, any_value(pump_peak.litres_per_min) AS litres_per_min
FROM pump_flow JOIN pump_peak USING (pump) GROUP BY pump ORDER BY pump
"""


def flows() -> Statement:
    """Return the statement for each pump's number of readings and highest flow, in order of their names."""
    return Statement(_FLOWS, {})
