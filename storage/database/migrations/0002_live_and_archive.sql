-- Rows of the current days move to the schema `live`; days that are over are in the archive as Parquet files. The old table names become
-- views over both, which `storage/schema/views.py` defines at each opening: the archive's folder may change.
-- `number` counts the messages of a database, without a gap: a typed row has the number of its message.
-- Measured columns may be null: a payload whose field changed its type has a typed row, with null for that field.
CREATE SCHEMA live;

CREATE TABLE live.messages (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,  -- wall time of arrival; never decreases within one run of the recorder
    event_at    TIMESTAMPTZ,           -- plant time, if the message has it
    topic       VARCHAR NOT NULL,
    payload     VARCHAR,               -- null if the payload is not UTF-8
    payload_raw BLOB,                  -- only if the payload is not UTF-8
    qos         UTINYINT NOT NULL,
    retain      BOOLEAN NOT NULL,
    source      VARCHAR,               -- the publisher's stamps: component, start, number within that start
    boot        VARCHAR,
    seq         BIGINT,
    session     INTEGER NOT NULL,      -- the broker's session that delivered it
    packet_id   USMALLINT              -- MQTT packet identifier, null at QoS 0: identifies a redelivery after a crash
);
INSERT INTO live.messages SELECT row_number() OVER (), * FROM main.messages;

CREATE TABLE live.rejected_message (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    component   VARCHAR NOT NULL,      -- the component that rejected it
    topic       VARCHAR NOT NULL,
    reason      VARCHAR NOT NULL,
    payload     VARCHAR,
    payload_raw BLOB
);
CREATE TABLE live.component_state (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    component   VARCHAR NOT NULL,
    state       VARCHAR,
    boot        VARCHAR,
    version     VARCHAR
);
CREATE TABLE live.room_temperature (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    room        VARCHAR NOT NULL,
    sensor      VARCHAR NOT NULL,
    celsius     DOUBLE
);
CREATE TABLE live.valve_level (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    room        VARCHAR NOT NULL,
    level       INTEGER                -- percent open
);


-- A typed row of the earlier schema finds its message by the time of arrival.
CREATE TEMP TABLE arrival AS SELECT received_at, min(number) AS number FROM live.messages GROUP BY received_at;
INSERT INTO live.rejected_message SELECT number, rejected_message.* FROM main.rejected_message JOIN arrival USING (received_at);
INSERT INTO live.component_state SELECT number, component_state.* FROM main.component_state JOIN arrival USING (received_at);
INSERT INTO live.room_temperature SELECT number, room_temperature.* FROM main.room_temperature JOIN arrival USING (received_at);
INSERT INTO live.valve_level SELECT number, valve_level.* FROM main.valve_level JOIN arrival USING (received_at);
DROP TABLE arrival;

DROP TABLE main.messages;
DROP TABLE main.rejected_message;
DROP TABLE main.component_state;
DROP TABLE main.room_temperature;
DROP TABLE main.valve_level;

-- Means of numbers in deleted payloads: one row per topic, field and quarter of an hour.
CREATE TABLE live.message_mean (
    received_at TIMESTAMPTZ NOT NULL,  -- arrival of the first message: gives the day in the archive
    start_at    TIMESTAMPTZ NOT NULL,  -- of the quarter, in plant time if the messages have it, else of their arrival
    topic       VARCHAR NOT NULL,
    field       VARCHAR NOT NULL,      -- empty if the payload is a bare number
    mean        DOUBLE NOT NULL,
    minimum     DOUBLE NOT NULL,
    maximum     DOUBLE NOT NULL,
    samples     BIGINT NOT NULL
);

-- The files of the archive. 'writing': perhaps incomplete; 'archived': part of the views; 'obsolete': to be removed.
CREATE TABLE archive_file (
    path         VARCHAR NOT NULL,     -- relative to the archive's folder
    day          DATE NOT NULL,        -- UTC, of arrival
    name         VARCHAR NOT NULL,     -- of the table
    state        VARCHAR NOT NULL,
    rows         BIGINT,               -- null while 'writing'
    bytes        BIGINT,
    sha256       VARCHAR,
    first_number BIGINT NOT NULL,      -- range of the message numbers of its rows
    last_number  BIGINT NOT NULL,
    columns      VARCHAR[] NOT NULL,
    archived_at  TIMESTAMPTZ NOT NULL
);

-- Days that were restored from the archive on request: they stay until they are archived on request.
CREATE TABLE restored_day (day DATE NOT NULL, restored_at TIMESTAMPTZ NOT NULL);

-- Counts of messages that the retention policy deleted, by day and publisher, so that the ledger balances.
CREATE TABLE expired_message (
    day        DATE NOT NULL,
    source     VARCHAR,
    boot       VARCHAR,
    messages   BIGINT NOT NULL,
    expired_at TIMESTAMPTZ NOT NULL
);

-- Views that a user created (`scaup views`).
CREATE TABLE recorded_view (name VARCHAR NOT NULL, filter VARCHAR NOT NULL, query VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL);
