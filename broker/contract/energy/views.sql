-- Energy: every revision of a quarter of an hour, and the current value of each.

-- Every value that a quarter has had; kwh is null where the normalizer withdrew it.
CREATE VIEW energy_revision AS
SELECT identifier_number(ship) AS spaceship_id,
    each.datetime AS start_at, each.value AS kwh, each.quality AS quality, each.coverage AS coverage,
    received_at AS revised_at, coalesce(each.negative, false) AS negative, ship, number
FROM (SELECT ship, received_at, number, unnest(quarters) AS each FROM energy_told)
WHERE each.datetime IS NOT NULL;

-- The current value of each quarter.
CREATE VIEW energy_interval AS
SELECT spaceship_id, start_at, arg_max_null(kwh, number) AS kwh, arg_max(quality, number) AS quality,
    arg_max(coverage, number) AS coverage, arg_max(revised_at, number) AS revised_at,
    arg_max(negative, number) AS negative, ship
FROM energy_revision GROUP BY ship, spaceship_id, start_at HAVING arg_max_null(kwh, number) IS NOT NULL;
