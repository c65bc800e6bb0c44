-- Every message on every topic, byte for byte, in the order of arrival. Append-only, no key and no index.
CREATE TABLE messages (
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

-- New sessions that the broker began for the recorder: packet identifiers start at 1 in each.
CREATE TABLE mqtt_session (session INTEGER NOT NULL, started_at TIMESTAMPTZ NOT NULL);

CREATE TABLE rejected_message (
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    component   VARCHAR NOT NULL,      -- the component that rejected it
    topic       VARCHAR NOT NULL,
    reason      VARCHAR NOT NULL,
    payload     VARCHAR,
    payload_raw BLOB
);

CREATE TABLE component_state (
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    component   VARCHAR NOT NULL,
    state       VARCHAR NOT NULL,
    boot        VARCHAR NOT NULL,
    version     VARCHAR NOT NULL
);

CREATE TABLE room_temperature (
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    room        VARCHAR NOT NULL,
    sensor      VARCHAR NOT NULL,
    celsius     DOUBLE NOT NULL
);

CREATE TABLE valve_level (
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    room        VARCHAR NOT NULL,
    level       INTEGER NOT NULL       -- percent open
);
