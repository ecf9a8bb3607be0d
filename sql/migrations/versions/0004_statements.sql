-- Suppliers' statements: what came in, and what was refused. Rows are only added.

CREATE FUNCTION treasury_refuse_statement_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only added', TG_TABLE_NAME USING ERRCODE = 'TR001';
END $$;

-- One look at one file. The newest that was taken for a supplier's day is the one that counts.
CREATE TABLE statement_files (
    file_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier       varchar(16) NOT NULL,
    day            date,                                                        -- Africa/Johannesburg; of a bad file it may be unknown
    name           varchar(200) NOT NULL,
    sha256         bytea NOT NULL CHECK (octet_length(sha256) = 32),            -- of the file as it came; it is not kept
    size_bytes     bigint NOT NULL CHECK (size_bytes >= 0),
    state          text NOT NULL CHECK (state IN ('taken', 'quarantined')),
    supersedes     bigint UNIQUE REFERENCES statement_files,                    -- another content of the same day
    line_count     bigint CHECK (line_count >= 0),
    sums           jsonb,                                                       -- by kind, status, currency; money as decimal text
    object_key     text,                                                        -- the canonical Parquet in the archive
    object_sha256  bytea CHECK (octet_length(object_sha256) = 32),
    error          varchar(500),
    actor          varchar(128) NOT NULL,
    taken_at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'taken') = (num_nulls(day, line_count, sums, object_key, object_sha256) = 0)),
    CHECK ((state = 'quarantined') = (error IS NOT NULL)),
    CHECK (supersedes IS NULL OR state = 'taken')
);
CREATE UNIQUE INDEX statement_files_taken ON statement_files (supplier, sha256) WHERE state = 'taken';
CREATE UNIQUE INDEX statement_files_first ON statement_files (supplier, day) WHERE state = 'taken' AND supersedes IS NULL;
CREATE INDEX statement_files_day ON statement_files (supplier, day, taken_at DESC);
CREATE INDEX statement_files_sha256 ON statement_files (supplier, sha256);

CREATE TRIGGER statement_files_fixed BEFORE UPDATE OR DELETE ON statement_files
    FOR EACH ROW EXECUTE FUNCTION treasury_refuse_statement_change();
CREATE TRIGGER statement_files_kept BEFORE TRUNCATE ON statement_files
    FOR EACH STATEMENT EXECUTE FUNCTION treasury_refuse_statement_change();
