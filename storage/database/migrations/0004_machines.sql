-- Readings of machines, and the averages over their last ones. `machine` is the level of the topic, `id` what the payload says.
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
    status      VARCHAR,               -- 'STARTED', 'ERROR', 'IDLE', 'COMPLETED'; whatever text the machine sent
    timestamp   TIMESTAMPTZ            -- when the machine says that it took the reading; null where it says no offset
);

CREATE TABLE live.machine_average (
    number              BIGINT NOT NULL,
    received_at         TIMESTAMPTZ NOT NULL,
    event_at            TIMESTAMPTZ,
    machine             VARCHAR NOT NULL,
    average_temperature DOUBLE,        -- null where none of the readings has a number
    average_speed       DOUBLE,
    status              VARCHAR
);
