-- Chargers, widgets and sessions. The views `charging_session` (current state of each session) and `charger_pair` (current
-- pairs) are made of `charging_told` and `charging_pairs` (broker/contract/charging/views.sql).
CREATE TABLE live.charger_soc (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    charger     VARCHAR NOT NULL,
    soc         DOUBLE                 -- state of charge, %
);

CREATE TABLE live.widget_status (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    widget      VARCHAR NOT NULL,
    status      VARCHAR                -- 'charging', 'charging80', 'charged', 'unavailable'; any text that was sent to the widget
);

CREATE TABLE live.charging_told (      -- one row when a session begins, and one when it ends
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    charger     VARCHAR NOT NULL,
    session     VARCHAR NOT NULL,
    widget      VARCHAR,
    started_at  TIMESTAMPTZ,           -- plant time
    soc_start   DOUBLE,
    ended_at    TIMESTAMPTZ,           -- null, like the columns below, while the session runs
    soc_end     DOUBLE,
    duration_s  DOUBLE,
    ended_by    VARCHAR                -- 'charged', 'replaced', 'offline', 'unpaired'
);

CREATE TABLE live.charging_pairs (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    pairs       VARCHAR NOT NULL       -- JSON: charger → widget, all pairs
);
