-- Fastening: history, current results, and the catalog.

-- A result is void as soon as its screw was loosened or fastened again, or its own job voided it.
CREATE VIEW fastening_event AS
SELECT number, received_at, event_at, driver, event, job, serial, part_number, revision, step, torque_nm, target_nm,
    min_nm, max_nm, in_range,
    CASE WHEN event IN ('in range', 'out of range') THEN
        max(number) FILTER (event IN ('in range', 'out of range') OR event = 'reversed')
            OVER (PARTITION BY serial, step) > number
        OR coalesce(max(number) FILTER (event = 'voided') OVER (PARTITION BY serial, step, job) > number, false)
    END AS void,
    asked, reason
FROM fastening_log;

-- The current result of each serial number and step.
CREATE VIEW fastening AS
SELECT serial, step, torque_nm, target_nm, min_nm, max_nm, in_range, coalesce(event_at, received_at) AS recorded_at,
    driver, part_number, revision, job
FROM fastening_event WHERE void = false;

-- The catalog that was published last, here and in the two views below.
CREATE VIEW serial_number AS
SELECT each.serial AS serial, each.part_id AS part_id
FROM (SELECT unnest(from_json(serials, '[{"serial":"VARCHAR","part_id":"BIGINT"}]')) AS each
      FROM (SELECT serials FROM torque_catalog ORDER BY number DESC LIMIT 1));

CREATE VIEW part AS
SELECT each.part_id AS part_id, each.part_number AS part_number, each.revision AS revision
FROM (SELECT unnest(from_json(parts, '[{"part_id":"BIGINT","part_number":"VARCHAR","revision":"VARCHAR",
          "steps":[{"step":"INTEGER","target_nm":"DOUBLE","min_nm":"DOUBLE","max_nm":"DOUBLE"}]}]')) AS each
      FROM (SELECT parts FROM torque_catalog ORDER BY number DESC LIMIT 1));

CREATE VIEW step AS
SELECT part_id, screw.step AS step, screw.target_nm AS target_nm, screw.min_nm AS min_nm, screw.max_nm AS max_nm
FROM (SELECT each.part_id AS part_id, unnest(each.steps) AS screw
      FROM (SELECT unnest(from_json(parts, '[{"part_id":"BIGINT","part_number":"VARCHAR","revision":"VARCHAR",
                "steps":[{"step":"INTEGER","target_nm":"DOUBLE","min_nm":"DOUBLE","max_nm":"DOUBLE"}]}]')) AS each
            FROM (SELECT parts FROM torque_catalog ORDER BY number DESC LIMIT 1)));
