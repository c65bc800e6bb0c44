-- Quarters of an hour that the energy normalizer published, new or changed, one row per message. The views
-- `energy_interval` (current values) and `energy_revision` (all values) are made of it (broker/contract/energy/views.sql).
CREATE TABLE live.energy_told (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    ship        VARCHAR NOT NULL,
    quarters    STRUCT(datetime TIMESTAMPTZ, "value" DOUBLE, quality VARCHAR, coverage DOUBLE, negative BOOLEAN)[]
);

CREATE TABLE live.energy_anomaly (
    number       BIGINT NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL,
    event_at     TIMESTAMPTZ,
    ship         VARCHAR NOT NULL,
    start_at     TIMESTAMPTZ,          -- of the quarter, or of the first of several
    kind         VARCHAR,              -- 'outlier', 'missing', 'flat', 'negative'
    kwh          DOUBLE,
    expected_kwh DOUBLE,               -- median of the ship's same quarter of the day
    text         VARCHAR
);
