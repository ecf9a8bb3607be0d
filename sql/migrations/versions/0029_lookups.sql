-- What a reader needs to read little of an archived file (storage/lookups.py). It follows from the file: the object in the
-- archive is the truth, and these are copies of it, gone when the month is deleted.
ALTER TABLE archive_months
    ADD COLUMN lookup jsonb;  -- key, size_bytes and sha256 of the object; null for a month archived without one

CREATE TABLE archive_lookups (
    object_key text PRIMARY KEY,           -- of the file with the rows
    table_name text NOT NULL,
    month      date NOT NULL CHECK (extract(day FROM month) = 1),
    part       smallint NOT NULL,
    pieces     bytea NOT NULL,
    footer     bytea NOT NULL
);
CREATE INDEX archive_lookups_month ON archive_lookups (table_name, month, part);

CREATE TABLE archive_filters (
    object_key text NOT NULL REFERENCES archive_lookups ON DELETE CASCADE,
    field_id   integer NOT NULL CHECK (field_id > 0),
    bits       bytea NOT NULL CHECK (octet_length(bits) > 0 AND octet_length(bits) % 32 = 0),
    PRIMARY KEY (object_key, field_id)
);
-- A question reads 32 bytes of a filter: uncompressed, PostgreSQL reads that part alone.
ALTER TABLE archive_filters ALTER COLUMN bits SET STORAGE EXTERNAL;
