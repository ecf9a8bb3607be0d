-- Alerts, and the results of the health checks.

-- Something that somebody must look at. Of one rule and subject at most one alert is open; what was resolved stays.
CREATE TABLE alerts (
    alert_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule             varchar(64) NOT NULL,
    subject          varchar(200) NOT NULL,                 -- what it is about: a check, a user, an address, a file
    fingerprint      bytea NOT NULL CHECK (octet_length(fingerprint) = 32),   -- SHA-256 of rule and whole subject
    severity         varchar(16) NOT NULL CHECK (severity IN ('warning', 'critical')),
    title            varchar(300) NOT NULL,
    what_to_do       varchar(1000) NOT NULL,
    evidence         jsonb NOT NULL DEFAULT '{}' CHECK (octet_length(evidence::text) <= 32768),   -- masked; the latest
    event_ids        text[] NOT NULL DEFAULT '{}' CHECK (cardinality(event_ids) <= 100),   -- the latest that were counted
    first_seen       timestamptz(3) NOT NULL,
    last_seen        timestamptz(3) NOT NULL,
    count            bigint NOT NULL DEFAULT 1,
    state            varchar(16) NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    resolved_at      timestamptz(3),
    acknowledged_at  timestamptz(3),
    acknowledged_by  varchar(128),
    -- the notice of it: when one was last sent, when the next is due, which targets have taken the one under way
    notified_at      timestamptz(3),
    next_notice_at   timestamptz(3),
    notice_taken_by  text[] NOT NULL DEFAULT '{}',
    notice_failures  integer NOT NULL DEFAULT 0,
    notice_error     varchar(500),
    CHECK (first_seen <= last_seen),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE state = 'open';
CREATE INDEX alerts_fingerprint ON alerts (fingerprint, alert_id DESC);
CREATE INDEX alerts_notice ON alerts (next_notice_at) WHERE next_notice_at IS NOT NULL;
CREATE INDEX alerts_resolved ON alerts (resolved_at) WHERE state = 'resolved';

-- One row a check and run; housekeeping deletes the old ones.
CREATE TABLE health_results (
    checked_at  timestamptz(3) NOT NULL,
    check_name  varchar(64) NOT NULL,
    state       varchar(16) NOT NULL CHECK (state IN ('healthy', 'warning', 'critical')),
    value       numeric,
    threshold   numeric,
    line        varchar(500) NOT NULL,
    took_ms     integer NOT NULL CHECK (took_ms >= 0),
    PRIMARY KEY (checked_at, check_name)
);

-- When a job of the night last ended well, and when and why not.
CREATE TABLE job_outcomes (
    job           varchar(64) PRIMARY KEY,
    succeeded_at  timestamptz(3),
    failed_at     timestamptz(3),
    error         varchar(1000)
);
