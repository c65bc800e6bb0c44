"""Fastening: statements about recorded results and the catalog, for `scaup torque results`, `serials` and `spc`."""

from broker.contract.sql import Statement

_RESULTS = """
SELECT serial, step, torque_nm, target_nm, min_nm, max_nm, in_range, recorded_at, driver
FROM fastening WHERE serial = $serial ORDER BY step
"""

_HISTORY = """
SELECT received_at, event_at, driver, event, job, serial, part_number, revision, step, torque_nm, target_nm, min_nm, max_nm,
       in_range, void, asked, reason
FROM fastening_event WHERE serial = $serial ORDER BY number
"""

_STEPS = """
SELECT serial_number.serial, step.step FROM serial_number LEFT JOIN step USING (part_id)
WHERE serial_number.serial = $serial ORDER BY step.step
"""

_SERIALS = """
SELECT serial_number.serial, part.part_number, part.revision, count(DISTINCT step.step) AS steps,
       count(DISTINCT step.step) FILTER (fastening.in_range) AS fastened, steps > 0 AND fastened = steps AS complete
FROM serial_number
LEFT JOIN part USING (part_id)
LEFT JOIN step USING (part_id)
LEFT JOIN fastening ON fastening.serial = serial_number.serial AND fastening.step = step.step
WHERE part.part_number = $part OR CAST($part AS VARCHAR) IS NULL
GROUP BY serial_number.serial, part.part_number, part.revision ORDER BY serial_number.serial
"""

_SPC = """
WITH measured AS (
    SELECT part_number, revision, step, target_nm, min_nm, max_nm, count(*) AS n, avg(torque_nm) AS mean,
           nullif(stddev_samp(torque_nm), 0) AS spread, stddev_samp(torque_nm) AS sd,
           100.0 * count(*) FILTER (event = 'out of range') / n AS outside
    FROM fastening_event
    WHERE event IN ('in range', 'out of range') AND torque_nm IS NOT NULL
        AND (part_number = $part OR CAST($part AS VARCHAR) IS NULL)
    GROUP BY part_number, revision, step, target_nm, min_nm, max_nm
)
SELECT part_number, revision, step, target_nm, min_nm, max_nm, n, round(mean, 4) AS mean_nm, round(sd, 4) AS sd_nm,
       round((max_nm - min_nm) / (6 * spread), 3) AS cp,
       round(least(max_nm - mean, mean - min_nm) / (3 * spread), 3) AS cpk,
       round(outside, 2) AS out_of_range_pct
FROM measured ORDER BY ALL
"""


_TORQUES = """
SELECT received_at, serial, driver, torque_nm, target_nm, min_nm, max_nm, event = 'in range' AS in_range
FROM fastening_event
WHERE part_number = $part AND revision = $revision AND step = $step
    AND event IN ('in range', 'out of range') AND torque_nm IS NOT NULL
ORDER BY number DESC LIMIT $rows
"""


def results(serial: str) -> Statement:
    """Return the statement for the current results of a serial number, one row per step that has one."""
    return Statement(_RESULTS, {"serial": serial})


def history(serial: str) -> Statement:
    """Return the statement for all events of a serial number, voided results included, oldest first."""
    return Statement(_HISTORY, {"serial": serial})


def steps(serial: str) -> Statement:
    """Return the statement for the steps of a serial number's part.

    `step` is null if the part has none; an unknown serial number has no row.
    """
    return Statement(_STEPS, {"serial": serial})


def serials(part: str | None) -> Statement:
    """Return the statement for the serial numbers of a part number, or for all, with how many of their steps are in range."""
    return Statement(_SERIALS, {"part": part})


def torques(part: str, revision: str, step: int, rows: int) -> Statement:
    """Return the statement for the newest tightenings of a part's step, those that `spc` counts; newest first."""
    return Statement(_TORQUES, {"part": part, "revision": revision, "step": step, "rows": rows})


def spc(part: str | None) -> Statement:
    """Return the statement for the capability of each step of a part number, or of all; torques x in N·m.

    With the mean m and the sample standard deviation s of all tightenings of a step: Cp = (max - min) / (6 s) and
    Cpk = min(max - m, m - min) / (3 s); both are null for fewer than two tightenings, and where s is 0. These are the formulas
    of ISO 22514-2 and of the AIAG manual on statistical process control. Where a step's limits were changed, each
    pair of limits has a row of its own.
    """
    return Statement(_SPC, {"part": part})
