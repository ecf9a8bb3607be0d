-- Write once (docs/write-once.md): what was asked of the store for each version of an object, recorded before it is asked.
-- A lock is never shortened here, and a legal hold is taken off only where this project placed it.
CREATE TABLE archive_locks (
    object_key     text NOT NULL,
    version        text NOT NULL,
    table_name     text NOT NULL,
    month          date NOT NULL CHECK (extract(day FROM month) = 1),
    part           smallint NOT NULL CHECK (part > 0),
    mode           text CHECK (mode IN ('GOVERNANCE', 'COMPLIANCE')),  -- of the retention; NULL: none was asked for
    locked_until   timestamptz(3),
    kept_until     timestamptz(3),                                     -- what the store took of it
    hold_placed_at timestamptz(3),                                     -- the store's legal hold, NULL: not placed by us
    hold_taken_at  timestamptz(3),                                     -- when the store took it
    recorded_at    timestamptz(3) NOT NULL DEFAULT now(),
    PRIMARY KEY (object_key, version),
    CHECK ((mode IS NULL) = (locked_until IS NULL))
);
CREATE INDEX archive_locks_month ON archive_locks (table_name, month);

-- The deep tier (docs/deep-tier.md): the same object, in another storage class.
ALTER TABLE archive_months
    ADD COLUMN deep_at timestamptz(3),
    ADD COLUMN storage_class text,                -- of the object with the rows; NULL: the store's default one
    ADD COLUMN deep_etag text,                    -- its ETag there, which the nightly look compares
    ADD CONSTRAINT archive_months_deep_has_time CHECK (tier <> 'deep' OR deep_at IS NOT NULL) NOT VALID;

-- A copy into another storage class that was begun: what the store must say of the object when it has ended.
CREATE TABLE archive_copies (
    object_key     text PRIMARY KEY,
    table_name     text NOT NULL,
    month          date NOT NULL CHECK (extract(day FROM month) = 1),
    part           smallint NOT NULL CHECK (part > 0),
    storage_class  text NOT NULL,
    size_bytes     bigint NOT NULL CHECK (size_bytes >= 0),
    part_bytes     bigint NOT NULL CHECK (part_bytes > 0),             -- of a copy in parts: each but the last
    etag           text NOT NULL,                                      -- MD5, or of the MD5s of the parts, as S3 makes it
    checksum       text NOT NULL,                                      -- SHA-256 in base64, the same way
    from_version   text NOT NULL,                                      -- the version that was read; empty without versions
    from_etag      text NOT NULL,                                      -- of what was read: nothing else is copied
    begun_at       timestamptz(3) NOT NULL DEFAULT now()
);
