-- Charging: sessions and pairs.

-- One row per session. The first end that was published counts: after a power cut an older state may come back and end a
-- session again. A session without an end, about which nothing was published before the next one began, was lost in a power
-- cut.
-- Sessions of an OCPP charger are its transactions, of which each connector has one at a time; `kwh` is by its register.
-- `revised_at` is when the last message about the session was received.
CREATE VIEW charging_session AS
SELECT state.session AS session, charger, state.widget AS widget, state.started_at AS started_at,
    coalesce(state.ended_at, next_at) AS ended_at, state.soc_start AS soc_start, state.soc_end AS soc_end,
    state.duration_s AS duration_s,
    CASE WHEN state.ended_at IS NULL AND next_at IS NOT NULL THEN 'lost' ELSE state.ended_by END AS ended_by,
    revised_at, state.kwh AS kwh, state.connector AS connector
FROM (SELECT charger, state, revised_at,
          lead(state.started_at) OVER (PARTITION BY charger, state.connector ORDER BY state.started_at, number) AS next_at
      FROM (SELECT charger, min(number) AS number, arg_max(received_at, number) AS revised_at,
                coalesce(arg_min(message, number) FILTER (ended_at IS NOT NULL), arg_max(message, number)) AS state
            FROM charging_told AS message GROUP BY charger, session));

-- The pairs that were published last.
-- Not json_each: joined with its own text it needs memory for that text once per pair.
CREATE VIEW charger_pair AS
SELECT each.key AS charger, each.value AS widget
FROM (SELECT unnest(map_entries(TRY_CAST(pairs::JSON AS MAP(VARCHAR, VARCHAR)))) AS each
      FROM charging_pairs WHERE number = (SELECT max(number) FROM charging_pairs));
