-- Quarters of an hour as the energy normalizer told them, a message a row: those that were new or had changed. The views
-- `energy_interval` (what holds) and `energy_revision` (what ever held) are made of it (storage/schema/derived_views.py).
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
