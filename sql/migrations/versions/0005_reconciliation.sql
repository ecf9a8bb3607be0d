-- Reconciliation: runs, matches, breaks, their resolutions, closed periods, and the audit chain.
-- Days are Africa/Johannesburg days. Rows are only added; of a break only its state and its period move.

CREATE FUNCTION treasury_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only added', TG_TABLE_NAME USING ERRCODE = 'TR001';
END $$;

-- One finished run over one supplier's day. The newest of a day is the one that counts.
CREATE TABLE recon_runs (
    run_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier          varchar(16) NOT NULL,
    day               date NOT NULL,
    supersedes        bigint UNIQUE REFERENCES recon_runs,
    digest            bytea NOT NULL CHECK (octet_length(digest) = 32),            -- of inputs, rules and outcome
    statement_digest  bytea NOT NULL CHECK (octet_length(statement_digest) = 32),
    own_digest        bytea NOT NULL CHECK (octet_length(own_digest) = 32),
    rules             jsonb NOT NULL,                                              -- the settings it was made under
    verdict           text NOT NULL CHECK (verdict IN ('passed', 'failed', 'critical')),
    line_count        bigint NOT NULL,
    own_count         bigint NOT NULL,
    matched_count     bigint NOT NULL,
    break_count       bigint NOT NULL,
    figures           jsonb NOT NULL,                                              -- the tie-out; money as decimal text
    object_prefix     text NOT NULL,                                               -- matches and reports in the archive
    actor             varchar(128) NOT NULL,
    started_at        timestamptz(3) NOT NULL,
    finished_at       timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX recon_runs_day ON recon_runs (supplier, day, run_id DESC);

-- Matches that somebody may want to look at: scored, suggested, payouts, and those over a day's edge. The plain ones
-- are in matches.parquet under the run's object_prefix, together with these.
CREATE TABLE recon_matches (
    run_id          bigint NOT NULL REFERENCES recon_runs,
    line_no         bigint NOT NULL,                    -- negative: minus the number of the break that carried the line
    own_id          uuid NOT NULL,
    own_created_at  timestamptz(3) NOT NULL,
    method          text NOT NULL,
    state           text NOT NULL CHECK (state IN ('confirmed', 'suggested')),
    score           numeric(5, 4) NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (run_id, line_no, own_id)
);
CREATE INDEX recon_matches_own ON recon_matches (own_created_at);

-- A difference, as it was found. Facts never change; a changed difference is another break.
CREATE TABLE recon_breaks (
    break_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       bigint NOT NULL REFERENCES recon_runs,  -- that found it first
    fingerprint  bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    supplier     varchar(16) NOT NULL,
    day          date NOT NULL,
    class        text NOT NULL CHECK (class IN ('missing_here', 'missing_there', 'duplicate', 'amount', 'status',
                     'late_posting', 'product', 'time', 'commission')),
    issues       text[] NOT NULL CHECK (cardinality(issues) > 0),
    currency     varchar(3) NOT NULL,
    difference   numeric(18, 4) NOT NULL CHECK (difference >= 0),   -- the money in question
    variance     numeric(18, 2) NOT NULL,                           -- the statement's total less ours
    escalated    boolean NOT NULL,
    line_no      bigint,
    line         jsonb,                                             -- the statement's side, money as decimal text
    own          jsonb,                                             -- our side
    note         text NOT NULL DEFAULT '',
    detected_at  timestamptz(3) NOT NULL DEFAULT now(),
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'proposed', 'resolved', 'closed')),
    period_day   date NOT NULL,                                     -- the day that it is accounted in; moves when carried on
    CHECK (line IS NOT NULL OR own IS NOT NULL),
    UNIQUE (supplier, fingerprint)
);
CREATE INDEX recon_breaks_run ON recon_breaks (run_id);
CREATE INDEX recon_breaks_day ON recon_breaks (supplier, day);
CREATE INDEX recon_breaks_waiting ON recon_breaks (supplier, period_day, break_id) WHERE state IN ('open', 'proposed');

CREATE FUNCTION treasury_guard_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'state' - 'period_day' IS DISTINCT FROM to_jsonb(NEW) - 'state' - 'period_day' THEN
        RAISE EXCEPTION 'break % is a fact: only its state and its period may change', OLD.break_id USING ERRCODE = 'TR001';
    END IF;
    RETURN NEW;
END $$;

-- What was done about a break, by whom and why.
CREATE TABLE recon_resolutions (
    resolution_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    break_id       bigint NOT NULL REFERENCES recon_breaks,
    run_id         bigint REFERENCES recon_runs,         -- when a run did it
    action         text NOT NULL CHECK (action IN
                       ('auto_resolved', 'proposed', 'rejected', 'resolved', 'closed', 'reopened', 'carried')),
    actor          varchar(128) NOT NULL,
    decision       text NOT NULL,
    reason         text NOT NULL CHECK (reason <> ''),
    created_at     timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX recon_resolutions_break ON recon_resolutions (break_id, resolution_id);
CREATE INDEX recon_resolutions_run ON recon_resolutions (run_id) WHERE run_id IS NOT NULL;

-- Closed periods: nothing in them is run or resolved any more.
CREATE TABLE recon_periods (
    period_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier   varchar(16) NOT NULL,
    first_day  date NOT NULL,
    last_day   date NOT NULL,
    actor      varchar(128) NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    closed_at  timestamptz(3) NOT NULL DEFAULT now(),
    CHECK (first_day <= last_day)
);
CREATE INDEX recon_periods_day ON recon_periods (supplier, last_day);

-- The audit chain. hash = SHA-256(previous_hash || content); content is canonical JSON, kept as the very text hashed.
CREATE TABLE recon_events (
    event_no       bigint PRIMARY KEY CHECK (event_no > 0),
    previous_hash  bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash           bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    content        text NOT NULL
);

CREATE TRIGGER recon_breaks_facts BEFORE UPDATE ON recon_breaks FOR EACH ROW EXECUTE FUNCTION treasury_guard_break();
CREATE TRIGGER recon_breaks_kept BEFORE DELETE OR TRUNCATE ON recon_breaks EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_runs_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_runs EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_matches_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_matches
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_resolutions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_resolutions
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_periods_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_periods
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_events_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_events
    EXECUTE FUNCTION treasury_refuse_change();
-- Whatever the session's replication role: a guard that a setting of one's own session lifts is none.
ALTER TABLE recon_breaks ENABLE ALWAYS TRIGGER recon_breaks_facts;
ALTER TABLE recon_breaks ENABLE ALWAYS TRIGGER recon_breaks_kept;
ALTER TABLE recon_runs ENABLE ALWAYS TRIGGER recon_runs_kept;
ALTER TABLE recon_matches ENABLE ALWAYS TRIGGER recon_matches_kept;
ALTER TABLE recon_resolutions ENABLE ALWAYS TRIGGER recon_resolutions_kept;
ALTER TABLE recon_periods ENABLE ALWAYS TRIGGER recon_periods_kept;
ALTER TABLE recon_events ENABLE ALWAYS TRIGGER recon_events_kept;
