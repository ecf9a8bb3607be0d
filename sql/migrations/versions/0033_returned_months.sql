-- Archived months that went back to warm (docs/restoring.md). Their objects stay in the archive, as former objects of the
-- month, until the month is deleted: `stored_objects` lists them beside those that the month has now.
ALTER TABLE archive_months
    ADD COLUMN work_until date;                        -- up to and with this UTC day a returned month is not archived again

ALTER TABLE restored_months
    ADD COLUMN purpose text NOT NULL DEFAULT 'copy' CHECK (purpose IN ('copy', 'return'));

CREATE TABLE month_returns (
    return_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text NOT NULL,
    month         date NOT NULL CHECK (extract(day FROM month) = 1),
    row_count     bigint NOT NULL CHECK (row_count >= 0),
    actor         varchar(128) NOT NULL,
    account       varchar(128) NOT NULL,
    reason        varchar(1000) NOT NULL,
    returned_at   timestamptz(3) NOT NULL,
    work_until    date NOT NULL,
    record_key    text NOT NULL UNIQUE                 -- the object that says so; its SHA-256 is in the public log
);

CREATE TABLE former_objects (
    object_key    text PRIMARY KEY,
    return_id     bigint NOT NULL REFERENCES month_returns,
    table_name    text NOT NULL,
    month         date NOT NULL CHECK (extract(day FROM month) = 1),
    part          smallint NOT NULL CHECK (part > 0),
    place         integer NOT NULL,
    kind          text NOT NULL,                       -- `ledger.archive_objects.ObjectKind`
    size_bytes    bigint CHECK (size_bytes >= 0),      -- NULL for a manifest
    sha256        bytea NOT NULL CHECK (octet_length(sha256) = 32),
    certificate   text                                 -- of the deletion that has begun to remove it
);
CREATE INDEX former_objects_month ON former_objects (table_name, month);

CREATE VIEW stored_objects AS
SELECT table_name, month, part, place, kind, object_key, size_bytes, sha256, false AS is_former FROM archive_objects
UNION ALL
SELECT table_name, month, part, place, 'former ' || kind, object_key, size_bytes, sha256, true
FROM former_objects WHERE certificate IS NULL;

ALTER TABLE archive_uploads
    DROP CONSTRAINT archive_uploads_state_check,
    ADD CONSTRAINT archive_uploads_state_check
        CHECK (state IN ('intended', 'deciding', 'current', 'removed', 'kept', 'keeping', 'former'));
