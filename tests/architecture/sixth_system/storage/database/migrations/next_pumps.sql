-- The flow of pumps.
CREATE TABLE live.pump_flow (
    number         BIGINT NOT NULL,
    received_at    TIMESTAMPTZ NOT NULL,
    event_at       TIMESTAMPTZ,
    pump           VARCHAR NOT NULL,
    litres_per_min DOUBLE
);
