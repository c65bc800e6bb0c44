-- Events of fastening jobs, and the catalog. The views `fastening`, `fastening_event`, `serial_number`, `part` and `step` are
-- made of these (broker/contract/fastening/views.sql).
CREATE TABLE live.fastening_log (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    driver      VARCHAR NOT NULL,
    event       VARCHAR NOT NULL,      -- 'in range', 'out of range', 'reversed', 'step sent', … (broker/contract/fastening/topics.py)
    job         VARCHAR,
    serial      VARCHAR NOT NULL,
    part_number VARCHAR,
    revision    VARCHAR,
    step        INTEGER,
    torque_nm   DOUBLE,
    target_nm   DOUBLE,
    min_nm      DOUBLE,
    max_nm      DOUBLE,
    in_range    BOOLEAN,
    voided      BOOLEAN,               -- with 'reversed': whether a stored value of the step was deleted
    asked       BOOLEAN,               -- with 'reversed': whether a reverse operation had been requested
    reason      VARCHAR
);

-- Whole catalogs, as the fastening controller published them; the last one is current.
CREATE TABLE live.torque_catalog (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    serials     VARCHAR,               -- JSON: [{serial, part_id}]
    parts       VARCHAR                -- JSON: [{part_id, part_number, revision, steps: [{step, target_nm, min_nm, max_nm}]}]
);
