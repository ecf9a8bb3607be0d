-- The public log (docs/transparency-log.md). An event is written in the transaction of what it tells; the publisher gives it
-- its place in the log. The bytes of an entry are what is hashed, so they are kept as they are.
CREATE TABLE log_events (
    event_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id  uuid NOT NULL,
    incarnation      integer NOT NULL CHECK (incarnation > 0),
    number           bigint NOT NULL CHECK (number > 0),        -- within the incarnation, without gaps
    event            text NOT NULL,
    entry            bytea NOT NULL CHECK (octet_length(entry) BETWEEN 1 AND 65535),
    happened_at      timestamptz(3) NOT NULL,
    recorded_at      timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
    entry_index      bigint CHECK (entry_index >= 0),           -- NULL until the publisher has planned it
    replaced_at      timestamptz(3)                             -- never published: recorded again by a later incarnation
);
CREATE UNIQUE INDEX log_events_number ON log_events (installation_id, incarnation, number) WHERE replaced_at IS NULL;
CREATE UNIQUE INDEX log_events_index ON log_events (installation_id, entry_index) WHERE replaced_at IS NULL;

-- Of each log that this database has written: what it may have signed (planned), and what is known to be in the archive.
CREATE TABLE log_state (
    installation_id  uuid PRIMARY KEY,
    origin           text NOT NULL,
    folder           text NOT NULL,                             -- of the log, below the archive's URL
    keys             text[] NOT NULL DEFAULT '{}',              -- verifier keys that sign it now
    planned_size     bigint NOT NULL DEFAULT 0 CHECK (planned_size >= 0),
    published_size   bigint NOT NULL DEFAULT 0 CHECK (published_size BETWEEN 0 AND planned_size),
    root             bytea CHECK (octet_length(root) = 32),     -- of the published size
    checkpoint       bytea,                                     -- the signed note in the archive
    published_at     timestamptz(3),
    indexed_size     bigint NOT NULL DEFAULT 0 CHECK (indexed_size BETWEEN 0 AND published_size),
    timestamped_size bigint NOT NULL DEFAULT 0 CHECK (timestamped_size BETWEEN 0 AND published_size),
    witnessed        text NOT NULL DEFAULT '',                  -- what the witnesses of the policy came to
    timestamped      text NOT NULL DEFAULT '',                  -- what the time-stamping authority came to
    shortfall        text NOT NULL DEFAULT ''                   -- what the last publication had to do without
);

-- An entry never changes. It gets its place, or is replaced, once.
CREATE FUNCTION treasury_keep_log_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.event_id, NEW.installation_id, NEW.incarnation, NEW.number, NEW.event, NEW.entry, NEW.happened_at, NEW.recorded_at)
       IS DISTINCT FROM
       (OLD.event_id, OLD.installation_id, OLD.incarnation, OLD.number, OLD.event, OLD.entry, OLD.happened_at, OLD.recorded_at)
       OR (OLD.entry_index IS NOT NULL AND NEW.entry_index IS DISTINCT FROM OLD.entry_index)
       OR (OLD.replaced_at IS NOT NULL AND NEW.replaced_at IS DISTINCT FROM OLD.replaced_at)
    THEN
        RAISE EXCEPTION 'entries of % are only added', TG_TABLE_NAME USING ERRCODE = 'TR001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_events_entry BEFORE UPDATE ON log_events FOR EACH ROW EXECUTE FUNCTION treasury_keep_log_event();
CREATE TRIGGER log_events_kept BEFORE DELETE OR TRUNCATE ON log_events EXECUTE FUNCTION treasury_refuse_change();

-- A log never gets shorter.
CREATE FUNCTION treasury_keep_log_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.installation_id, NEW.origin, NEW.folder) IS DISTINCT FROM (OLD.installation_id, OLD.origin, OLD.folder)
       OR NEW.published_size < OLD.published_size
    THEN
        RAISE EXCEPTION 'a log of % never gets shorter', TG_TABLE_NAME USING ERRCODE = 'TR001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_state_length BEFORE UPDATE ON log_state FOR EACH ROW EXECUTE FUNCTION treasury_keep_log_state();
CREATE TRIGGER log_state_kept BEFORE DELETE OR TRUNCATE ON log_state EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE log_events ENABLE ALWAYS TRIGGER log_events_entry;
ALTER TABLE log_events ENABLE ALWAYS TRIGGER log_events_kept;
ALTER TABLE log_state ENABLE ALWAYS TRIGGER log_state_length;
ALTER TABLE log_state ENABLE ALWAYS TRIGGER log_state_kept;
