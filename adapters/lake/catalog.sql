-- What Scaup adds to a DuckLake catalog: a row for each site, and the trigger that moves it with each commit of the site.
CREATE TABLE IF NOT EXISTS scaup_site (
    site        text PRIMARY KEY,
    account     text NOT NULL UNIQUE,         -- the PostgreSQL account of the site
    incarnation text NOT NULL DEFAULT '',     -- the database file whose messages are forwarded
    epoch       bigint NOT NULL DEFAULT 0,    -- of the forwarder that may commit: a newer one has a higher
    upto        bigint NOT NULL DEFAULT 0,    -- the lake has all messages of the incarnation up to this number
    last_at     timestamptz,                  -- of the last commit
    seen_at     timestamptz,                  -- when the forwarder last reported
    behind      bigint,                       -- messages that the lake did not have then
    state       text NOT NULL DEFAULT 'joined',
    machine     text,                         -- the data directory that is bound to the site
    device      text,
    inode       text,
    directory   text,
    host        text
);
ALTER TABLE scaup_site ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS scaup_own ON scaup_site;
CREATE POLICY scaup_own ON scaup_site USING (account = current_user);

CREATE OR REPLACE FUNCTION scaup_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch jsonb;
BEGIN
    IF NEW.author IS DISTINCT FROM 'scaup-forward' THEN
        IF EXISTS (SELECT FROM scaup_site WHERE account = current_user) THEN
            RAISE EXCEPTION 'scaup: the account of a site may commit only what its forwarder does';
        END IF;
        RETURN NEW;
    END IF;
    batch := NEW.commit_extra_info::jsonb;
    IF NEW.changes_made ~ '(dropped|deleted|compacted|altered_view)' THEN
        RAISE EXCEPTION 'scaup: a forwarder only appends';
    END IF;
    IF NEW.changes_made !~ 'inserted' THEN
        PERFORM FROM scaup_site WHERE site = batch->>'site' AND account = current_user;
    ELSE
        UPDATE scaup_site SET upto = (batch->>'last')::bigint, last_at = now()
        WHERE site = batch->>'site' AND account = current_user AND incarnation = batch->>'incarnation'
            AND epoch = (batch->>'epoch')::bigint AND upto = (batch->>'first')::bigint - 1;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scaup: fenced, this is not the next batch of the site: %', NEW.commit_extra_info;
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER IF EXISTS scaup_forward ON ducklake_snapshot_changes;
CREATE TRIGGER scaup_forward BEFORE INSERT ON ducklake_snapshot_changes FOR EACH ROW EXECUTE FUNCTION scaup_forward();
