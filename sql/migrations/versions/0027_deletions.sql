-- The deletion of months that are past their policy (docs/deletion.md). A request has a plan with a hash; people approve the
-- hash. What is deleted under it is recorded object by object, so that a run that was killed is completed by the next.
ALTER TABLE archive_months
    ADD COLUMN certificate text,                       -- its number, from the beginning of the deletion on
    ADD COLUMN deleted_at timestamptz(3),              -- when the rows left the views; the objects are removed after it
    ADD COLUMN kept jsonb,                             -- of a part that holds kept: the former part, the holds, the proofs
    DROP CONSTRAINT archive_months_step_check,
    ADD CONSTRAINT archive_months_step_check
        CHECK (step IN ('idle', 'claimed', 'sealed', 'uploaded', 'verified', 'deleting')),
    ADD CONSTRAINT archive_months_deletion_is_certified CHECK (tier <> 'deleted' OR certificate IS NOT NULL) NOT VALID;
ALTER TABLE archive_uploads
    DROP CONSTRAINT archive_uploads_state_check,
    -- keeping: rows that a hold keeps, uploaded before the deletion of their month begins.
    ADD CONSTRAINT archive_uploads_state_check
        CHECK (state IN ('intended', 'deciding', 'current', 'removed', 'kept', 'keeping'));

CREATE TABLE deletion_requests (
    request_id    bigint PRIMARY KEY CHECK (request_id > 0),
    as_of         date NOT NULL,
    plan          jsonb NOT NULL,                      -- the months: ledger/retention.py
    plan_sha256   bytea NOT NULL CHECK (octet_length(plan_sha256) = 32),
    approvals     smallint NOT NULL CHECK (approvals > 0),
    grace_days    smallint NOT NULL CHECK (grace_days >= 0),
    actor         varchar(128) NOT NULL,
    account       varchar(128) NOT NULL,
    reason        varchar(1000) NOT NULL,
    requested_at  timestamptz(3) NOT NULL
);
CREATE TABLE deletion_decisions (
    decision_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id    bigint NOT NULL REFERENCES deletion_requests,
    action        text NOT NULL CHECK (action IN ('approved', 'refused', 'revoked')),
    actor         varchar(128) NOT NULL,
    account       varchar(128) NOT NULL,
    reason        varchar(1000) NOT NULL,
    decided_at    timestamptz(3) NOT NULL
);
CREATE INDEX deletion_decisions_request ON deletion_decisions (request_id, decision_id);

-- A deletion of a month: from the transaction that took its rows out of the views to its certificate.
CREATE TABLE deletions (
    number              bigint PRIMARY KEY CHECK (number > 0),
    certificate         text NOT NULL UNIQUE,
    request_id          bigint,                        -- NULL where the catalogue was rebuilt from the archive
    table_name          text NOT NULL,
    month               date NOT NULL,
    state               text NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'certified', 'done')),
    order_content       bytea NOT NULL,                -- canonical JSON: what was ordered, by whom
    order_key           text NOT NULL UNIQUE,
    begun_at            timestamptz(3) NOT NULL,
    event_incarnation   integer NOT NULL,              -- of the event deletion_begun
    event_number        bigint NOT NULL,
    certificate_content bytea,                         -- canonical JSON, before it is put into the archive
    certificate_key     text,
    page_key            text,
    finished_at         timestamptz(3),
    last_error          text,
    CHECK (state = 'begun' OR (certificate_content IS NOT NULL AND certificate_key IS NOT NULL AND page_key IS NOT NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
);
CREATE INDEX deletions_month ON deletions (table_name, month);

-- Each object of a deletion, with the versions that the store had of it.
CREATE TABLE deletion_objects (
    number      bigint NOT NULL REFERENCES deletions,
    object_key  text NOT NULL,
    part        smallint NOT NULL,
    kind        text NOT NULL,
    size_bytes  bigint,                                -- NULL for a leftover, of which nothing but the key is known
    sha256      bytea CHECK (octet_length(sha256) = 32),
    versions    jsonb NOT NULL DEFAULT '[]',
    removed_at  timestamptz(3),
    proved_at   timestamptz(3),                        -- found to be absent, by key and in the list of versions
    PRIMARY KEY (number, object_key),
    CHECK (proved_at IS NULL OR removed_at IS NOT NULL)
);

CREATE TRIGGER deletion_requests_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON deletion_requests
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER deletion_decisions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON deletion_decisions
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER deletions_kept BEFORE DELETE OR TRUNCATE ON deletions EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER deletion_objects_kept BEFORE DELETE OR TRUNCATE ON deletion_objects EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE deletion_requests ENABLE ALWAYS TRIGGER deletion_requests_kept;
ALTER TABLE deletion_decisions ENABLE ALWAYS TRIGGER deletion_decisions_kept;
ALTER TABLE deletions ENABLE ALWAYS TRIGGER deletions_kept;
ALTER TABLE deletion_objects ENABLE ALWAYS TRIGGER deletion_objects_kept;
