-- Legal holds (docs/holds.md). A hold never changes; how it ends are records of their own. Each has an object in the
-- archive, whose SHA-256 is in an event of the public log.
CREATE TABLE holds (
    hold_id        bigint PRIMARY KEY CHECK (hold_id > 0),           -- without gaps, see sql/queries/holds.sql
    matter         varchar(128) NOT NULL,
    table_name     text,                                             -- NULL: every ledger table
    first_month    date NOT NULL CHECK (extract(day FROM first_month) = 1),
    last_month     date NOT NULL CHECK (extract(day FROM last_month) = 1),
    subject        text CHECK (subject IN ('wallet', 'user', 'client')),
    subject_value  varchar(64),
    reason         varchar(1000) NOT NULL,
    actor          varchar(128) NOT NULL,
    account        varchar(128) NOT NULL,
    placed_at      timestamptz(3) NOT NULL,
    review_on      date NOT NULL,
    object_key     text NOT NULL UNIQUE,
    object_bytes   bigint NOT NULL CHECK (object_bytes > 0),
    object_sha256  bytea NOT NULL CHECK (octet_length(object_sha256) = 32),
    CHECK (first_month <= last_month),
    CHECK ((subject IS NULL) = (subject_value IS NULL))
);

-- A release is proposed by one person and confirmed by another; a proposal may be rejected.
CREATE TABLE hold_decisions (
    decision_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hold_id        bigint NOT NULL REFERENCES holds,
    action         text NOT NULL CHECK (action IN ('proposed', 'rejected', 'released')),
    actor          varchar(128) NOT NULL,
    account        varchar(128) NOT NULL,
    reason         varchar(1000) NOT NULL,
    decided_at     timestamptz(3) NOT NULL,
    object_key     text UNIQUE,                                      -- of a release
    object_bytes   bigint CHECK (object_bytes > 0),
    object_sha256  bytea CHECK (octet_length(object_sha256) = 32),
    CHECK ((action = 'released') = (object_key IS NOT NULL AND object_bytes IS NOT NULL AND object_sha256 IS NOT NULL))
);
CREATE UNIQUE INDEX hold_decisions_released ON hold_decisions (hold_id) WHERE action = 'released';
CREATE INDEX hold_decisions_hold ON hold_decisions (hold_id, decision_id);

CREATE TRIGGER holds_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON holds EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER hold_decisions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON hold_decisions
    EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE holds ENABLE ALWAYS TRIGGER holds_kept;
ALTER TABLE hold_decisions ENABLE ALWAYS TRIGGER hold_decisions_kept;
