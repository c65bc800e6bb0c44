"""Heating: statements about each room's recorded states, for `scaup heating report`.

Plant time of a run at time scale 1 may lie before that of an earlier one. States are therefore in the order of their arrival;
plant time only measures how long each one lasted, within one start (`boot`) of the controller. The time between two starts is
not counted.
"""

from datetime import datetime

from broker.contract.heating.topics import STATE
from broker.contract.sql import Statement, selection

BAND_K = 0.5
"""Half the width of the band around the setpoint in which a room counts as comfortable."""
FULL_PCT = 95
"""Valve level from which a room gets all the heat that it can get."""
LONGEST_GAP_S = 3600
"""A state counts for the time until the next one, up to this limit; after it, no controller was running."""

_STATES = """
WITH published AS (
    SELECT split_part(topic, '/', 2) AS room, boot, number, received_at, coalesce(event_at, received_at) AS stated_at,
           CASE WHEN json_valid(payload) THEN payload END AS state
    FROM messages WHERE {condition}
), states AS (
    SELECT room, number, received_at, state->>'$.mode' AS mode, state->'$.sensors_left_out' AS left_out,
           state->'$.alarms' AS alarms,
           try_cast(state->>'$.temperature' AS DOUBLE) AS celsius,
           try_cast(state->>'$.setpoint' AS DOUBLE) AS setpoint,
           try_cast(state->>'$.level' AS INTEGER) AS level,
           try_cast(state->>'$.identified.transport_s' AS DOUBLE) AS dead_time,
           greatest(least(coalesce(epoch(lead(stated_at) OVER later - stated_at), 0), $gap_s), 0) + 1e-6 AS weight,
           coalesce(abs(level - lag(level) OVER later), 0) AS moved,
           coalesce(mode <> lag(mode) OVER later, false) AS changed
    FROM published WINDOW later AS (PARTITION BY room, boot ORDER BY number)
)
"""

_REPORT = """
SELECT room, round(arg_max_null(celsius, number), 2) AS temperature_c, arg_max(setpoint, number) AS setpoint_c,
       arg_max(level, number) AS level_pct, arg_max(mode, number) AS mode,
       CAST(arg_max_null(left_out, number) AS VARCHAR) AS left_out,
       CAST(arg_max_null(alarms, number) AS VARCHAR) AS alarms,
       round(min(celsius), 2) AS min_c,
       round(sum(celsius * weight) / sum(weight) FILTER (celsius IS NOT NULL), 2) AS mean_c,
       round(max(celsius), 2) AS max_c,
       round(100 * coalesce(sum(weight) FILTER (abs(celsius - setpoint) <= $band_k), 0)
           / sum(weight) FILTER (celsius IS NOT NULL), 1) AS in_band_pct,
       round(100 * coalesce(sum(weight) FILTER (celsius IS NOT NULL), 0) / sum(weight), 1) AS known_pct,
       round(sqrt(sum((celsius - setpoint) ** 2 * weight) / sum(weight) FILTER (celsius IS NOT NULL)), 3) AS rms_k,
       CAST(sum(moved) AS BIGINT) AS travel_pct, count(*) FILTER (changed) AS mode_changes,
       arg_min(received_at, number) AS from_at, arg_max(received_at, number) AS to_at, round(sum(weight) / 3600, 3) AS plant_h,
       round(arg_max_null(dead_time, number)) AS dead_time_s,
       {low_power} AS low_power_h, {warm} AS warm_h, {window} AS window_h, {backed_off} AS backed_off_h,
       {no_heat} AS no_heat_h, {blind} AS blind_h
FROM states GROUP BY room ORDER BY room
"""

_HOURS = {
    "low_power": "level >= $full_pct AND celsius < setpoint - $band_k",
    "warm": "level = 0 AND celsius > setpoint + $band_k",
    "window": "mode = 'window open'",
    "backed_off": "contains(CAST(alarms AS VARCHAR), 'oscillat')",
    "no_heat": "contains(CAST(alarms AS VARCHAR), 'no heat arrives')",
    "blind": "mode IN ('holding', 'safe')",
}
"""Conditions whose plant hours say what limits a room."""

_SERIES = """
SELECT room, avg(celsius) AS celsius, avg(setpoint) AS setpoint, avg(level) AS level, min(arrived_at) AS at,
       floor(least(epoch(arrived_at - first_at) / greatest(epoch(last_at - first_at), 1) * $points, $points - 1)) AS point
FROM (SELECT *, min(arrived_at) OVER whole AS first_at, max(arrived_at) OVER whole AS last_at
      FROM (SELECT *, min(received_at) OVER (PARTITION BY room ORDER BY number
                                             ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS arrived_at FROM states)
      WINDOW whole AS (PARTITION BY room))
GROUP BY ALL ORDER BY ALL
"""
"""`arrived_at` is `received_at`, unless the clock was ahead: then that of the first state after it was put right."""


def report(room: str | None, since_at: datetime) -> Statement:
    """Return the statement with one row per room, and its parameters."""
    hours = {name: f"round(coalesce(sum(weight) FILTER ({each}), 0) / 3600, 3)" for name, each in _HOURS.items()}
    return _statement(_REPORT.format(**hours), room, since_at, band_k=BAND_K, full_pct=FULL_PCT)


def series(room: str | None, since_at: datetime, points: int) -> Statement:
    """Return the statement with at most `points` means per room: room, point, at, celsius, setpoint, level."""
    return _statement(_SERIES, room, since_at, points=points)


def _statement(selected: str, room: str | None, since_at: datetime, **parameters: float) -> Statement:
    topic_filter = STATE.template.filter if room is None else STATE.template.topic(room=room)
    condition = selection(topic_filter, since_at)
    sql = (_STATES + selected).replace("{condition}", condition.sql)
    return Statement(sql, {**condition.parameters, "gap_s": LONGEST_GAP_S, **parameters})
