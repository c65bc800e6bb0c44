-- Readings of machines, and the averages over their last ones. `machine` is the level of the topic, `id` comes from the payload.
CREATE TABLE live.machine_reading (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    machine     VARCHAR NOT NULL,
    id          BIGINT,
    name        VARCHAR,
    description VARCHAR,
    temperature DOUBLE,                -- °C
    fan_speed   DOUBLE,                -- revolutions per minute
    status      VARCHAR,               -- 'STARTED', 'ERROR', 'IDLE', 'COMPLETED'; any text that the machine sent
    timestamp   TIMESTAMPTZ            -- time of the reading by the machine's clock; null if it has no offset
);

CREATE TABLE live.machine_average (
    number              BIGINT NOT NULL,
    received_at         TIMESTAMPTZ NOT NULL,
    event_at            TIMESTAMPTZ,
    machine             VARCHAR NOT NULL,
    average_temperature DOUBLE,        -- null if none of the readings has a number
    average_speed       DOUBLE,
    status              VARCHAR
);
