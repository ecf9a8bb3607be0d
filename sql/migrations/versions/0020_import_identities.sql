-- What makes an imported row the same row again: tasks/importing/identity.py. An entry is stored in the transaction that
-- stores the row, and it stays when the row's month leaves PostgreSQL.

CREATE TABLE import_identities (
    identity     uuid PRIMARY KEY,                                          -- 128 bits of a hash of source, table and key
    row_id       uuid NOT NULL,
    fingerprint  bytea NOT NULL CHECK (octet_length(fingerprint) >= 16)     -- of the values that were loaded
);
CREATE TRIGGER import_identities_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON import_identities
    EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE import_identities ENABLE ALWAYS TRIGGER import_identities_kept;

-- How the rows of a source are known again. Another rule would load all of them a second time.
CREATE TABLE import_sources (
    table_name   text NOT NULL,
    source_name  text NOT NULL,                                             -- `name` of the mapping
    rule         text NOT NULL,
    first_at     timestamptz(3) NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, source_name)
);

-- Until now a record that was loaded before was counted as rejected.
ALTER TABLE imports
    ADD COLUMN known_count      bigint NOT NULL DEFAULT 0 CHECK (known_count >= 0),
    ADD COLUMN different_count  bigint NOT NULL DEFAULT 0 CHECK (different_count >= 0),
    ADD COLUMN line_count       bigint CHECK (line_count >= read_count),    -- lines of the file, header included
    DROP CONSTRAINT imports_check,
    ADD CONSTRAINT imports_account CHECK (read_count = loaded_count + known_count + different_count + rejected_count);
