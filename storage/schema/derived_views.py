"""Views that people ask for, made of the typed tables' views: what is current, one row per thing."""

_RESULTS = "('in range', 'out of range')"

_CATALOG = "FROM torque_catalog ORDER BY number DESC LIMIT 1"
_SERIALS = '[{"serial":"VARCHAR","part_id":"BIGINT"}]'
_STEPS = '[{"step":"INTEGER","target_nm":"DOUBLE","min_nm":"DOUBLE","max_nm":"DOUBLE"}]'
_PARTS = f'[{{"part_id":"BIGINT","part_number":"VARCHAR","revision":"VARCHAR","steps":{_STEPS}}}]'

DERIVED_VIEWS = {
    # A result is void as soon as its screw was loosened or fastened anew, or its own job voided it.
    "fastening_event": f"""
        SELECT number, received_at, event_at, driver, event, job, serial, part_number, revision, step, torque_nm, target_nm,
            min_nm, max_nm, in_range,
            CASE WHEN event IN {_RESULTS} THEN
                max(number) FILTER (event IN {_RESULTS} OR event = 'reversed') OVER (PARTITION BY serial, step) > number
                OR coalesce(max(number) FILTER (event = 'voided') OVER (PARTITION BY serial, step, job) > number, false)
            END AS void,
            asked, reason
        FROM fastening_log""",
    "fastening": """
        SELECT serial, step, torque_nm, target_nm, min_nm, max_nm, in_range, coalesce(event_at, received_at) AS recorded_at,
            driver, part_number, revision, job
        FROM fastening_event WHERE void = false""",
    "serial_number": f"""
        SELECT each.serial AS serial, each.part_id AS part_id
        FROM (SELECT unnest(from_json(serials, '{_SERIALS}')) AS each FROM (SELECT serials {_CATALOG}))""",
    "part": f"""
        SELECT each.part_id AS part_id, each.part_number AS part_number, each.revision AS revision
        FROM (SELECT unnest(from_json(parts, '{_PARTS}')) AS each FROM (SELECT parts {_CATALOG}))""",
    "step": f"""
        SELECT part_id, screw.step AS step, screw.target_nm AS target_nm, screw.min_nm AS min_nm, screw.max_nm AS max_nm
        FROM (SELECT each.part_id AS part_id, unnest(each.steps) AS screw
              FROM (SELECT unnest(from_json(parts, '{_PARTS}')) AS each FROM (SELECT parts {_CATALOG})))""",
    "energy_revision": """
        SELECT CASE WHEN regexp_full_match(ship, '0|-?[1-9][0-9]{0,17}') THEN ship::BIGINT END AS spaceship_id,
            each.datetime AS start_at, each.value AS kwh, each.quality AS quality, each.coverage AS coverage,
            received_at AS revised_at, coalesce(each.negative, false) AS negative, ship, number
        FROM (SELECT ship, received_at, number, unnest(quarters) AS each FROM energy_told)
        WHERE each.datetime IS NOT NULL""",
    "energy_interval": """
        SELECT spaceship_id, start_at, arg_max_null(kwh, number) AS kwh, arg_max(quality, number) AS quality,
            arg_max(coverage, number) AS coverage, arg_max(revised_at, number) AS revised_at,
            arg_max(negative, number) AS negative, ship
        FROM energy_revision GROUP BY ship, spaceship_id, start_at HAVING arg_max_null(kwh, number) IS NOT NULL""",
    # The first end that was told holds: after a power cut an older state may come back, and end a session anew. One without an
    # end, of which nothing more was told before the next one, was lost in a power cut.
    "charging_session": """
        SELECT said.session AS session, charger, said.widget AS widget, said.started_at AS started_at,
            coalesce(said.ended_at, next_at) AS ended_at, said.soc_start AS soc_start, said.soc_end AS soc_end,
            said.duration_s AS duration_s,
            CASE WHEN said.ended_at IS NULL AND next_at IS NOT NULL THEN 'lost' ELSE said.ended_by END AS ended_by
        FROM (SELECT charger, said,
                  lead(said.started_at) OVER (PARTITION BY charger ORDER BY said.started_at, number) AS next_at
              FROM (SELECT charger, min(number) AS number,
                        coalesce(arg_min(told, number) FILTER (ended_at IS NOT NULL), arg_max(told, number)) AS said
                    FROM charging_told AS told GROUP BY charger, session))""",
    # Not json_each: joined with its own text it needs memory for that text once per pair.
    "charger_pair": """
        SELECT each.key AS charger, each.value AS widget
        FROM (SELECT unnest(map_entries(TRY_CAST(pairs::JSON AS MAP(VARCHAR, VARCHAR)))) AS each
              FROM charging_pairs WHERE number = (SELECT max(number) FROM charging_pairs))""",
}
"""Name → SQL, in the order in which they are defined: a view may stand on those before it."""
