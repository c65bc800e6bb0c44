-- Chargers, widgets and sessions. The views `charging_session` (what holds of each session) and `charger_pair` (the pairs there
-- are) are made of `charging_told` and `charging_pairs` (storage/schema/derived_views.py).
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
    status      VARCHAR                -- 'charging', 'charging80', 'charged', 'unavailable'; whatever text the widget was sent
);

CREATE TABLE live.charging_told (      -- a row when a session begins, and one when it is over
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    charger     VARCHAR NOT NULL,
    session     VARCHAR NOT NULL,
    widget      VARCHAR,
    started_at  TIMESTAMPTZ,           -- plant time
    soc_start   DOUBLE,
    ended_at    TIMESTAMPTZ,           -- null, like all that follows, while the session runs
    soc_end     DOUBLE,
    duration_s  DOUBLE,
    ended_by    VARCHAR                -- 'charged', 'replaced', 'offline', 'unpaired'
);

CREATE TABLE live.charging_pairs (
    number      BIGINT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    event_at    TIMESTAMPTZ,
    pairs       VARCHAR NOT NULL       -- JSON: charger → widget, all there are
);
