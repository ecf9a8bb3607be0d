-- The guards of ledger tables, and the catalogue of archived months. The ledger tables themselves are in
-- sql/queries/ledger_tables.sql: they are made in another schema, and only where an application has none.

-- A row that has reached a terminal status is history: corrections are new rows, nothing is deleted.
-- Generic over tables: the arguments are the key column, the time column, the status column ('' for none) and then
-- the terminal statuses. It costs inserts nothing.
CREATE FUNCTION treasury_guard_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := to_jsonb(OLD);
    becomes jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'rows of % are never deleted', TG_TABLE_NAME USING ERRCODE = 'TR001';
    END IF;
    IF was ->> TG_ARGV[2] = ANY (TG_ARGV[3:]) THEN
        RAISE EXCEPTION 'row % of % is %: a terminal row never changes',
            was ->> TG_ARGV[0], TG_TABLE_NAME, was ->> TG_ARGV[2] USING ERRCODE = 'TR001';
    END IF;
    becomes := to_jsonb(NEW);
    IF was -> TG_ARGV[0] IS DISTINCT FROM becomes -> TG_ARGV[0] OR was -> TG_ARGV[1] IS DISTINCT FROM becomes -> TG_ARGV[1] THEN
        RAISE EXCEPTION '% and % of % never change', TG_ARGV[0], TG_ARGV[1], TG_TABLE_NAME USING ERRCODE = 'TR001';
    END IF;
    RETURN NEW;
END $$;

-- Fires for every write to a month that has been sealed for the archive (see sql/queries/tiers.sql).
CREATE FUNCTION treasury_refuse_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'month % is sealed: it takes no more writes', TG_TABLE_NAME USING ERRCODE = 'TR002';
END $$;

-- Where every month is: the one truth about tiers and about how far a move has come.
CREATE TABLE archive_months (
    table_name       text NOT NULL,
    month            date NOT NULL CHECK (extract(day FROM month) = 1),
    tier             text NOT NULL CHECK (tier IN ('hot', 'warm', 'cold', 'deep', 'deleted')),
    -- how far warm -> cold has come; 'idle' when nothing is under way
    step             text NOT NULL DEFAULT 'idle' CHECK (step IN ('idle', 'claimed', 'sealed', 'uploaded', 'verified')),
    attempt          integer NOT NULL DEFAULT 0,      -- grows with every claim, so every upload has a fresh key
    row_count        bigint,
    sums             jsonb,                           -- {"ZAR": {"amount": "12.00", ...}, ...}
    digest           bytea CHECK (octet_length(digest) = 32),
    postgres_bytes   bigint,                          -- heap, indexes and TOAST just before the drop
    object_key       text,
    object_bytes     bigint,
    object_sha256    bytea CHECK (octet_length(object_sha256) = 32),
    manifest_key     text,
    manifest_sha256  bytea CHECK (octet_length(manifest_sha256) = 32),
    last_error       text,
    created_at       timestamptz(3) NOT NULL DEFAULT now(),
    warm_at          timestamptz(3),
    tidied_at        timestamptz(3),                  -- unneeded indexes dropped and rows frozen after the move
    sealed_at        timestamptz(3),
    verified_at      timestamptz(3),
    cold_at          timestamptz(3),
    PRIMARY KEY (table_name, month),
    CONSTRAINT archive_months_cold_is_proved CHECK (tier IN ('hot', 'warm', 'deleted') OR
        (digest IS NOT NULL AND object_key IS NOT NULL AND manifest_key IS NOT NULL AND verified_at IS NOT NULL))
);

-- The intent of every upload, written before its first byte, so that no object is ever unaccounted for.
CREATE TABLE archive_uploads (
    object_key   text PRIMARY KEY,
    table_name   text NOT NULL,
    month        date NOT NULL,
    attempt      integer NOT NULL,
    state        text NOT NULL DEFAULT 'intended' CHECK (state IN ('intended', 'current', 'removed')),
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    FOREIGN KEY (table_name, month) REFERENCES archive_months
);

-- What happened to a month, in order; rows are only added.
CREATE TABLE archive_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name  text NOT NULL,
    month       date NOT NULL,
    event       text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    happened_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX archive_events_month ON archive_events (table_name, month, event_id);

-- A unique constraint on a partitioned table must hold the partition key, so keys have a table of their own.
CREATE TABLE idempotency_keys (
    client_id    varchar(64) NOT NULL,
    key          varchar(255) NOT NULL,
    fingerprint  bytea NOT NULL,          -- SHA-256 of method, path and body
    status_code  smallint NOT NULL,
    response     bytea NOT NULL,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

CREATE TABLE api_keys (
    key_id      varchar(16) PRIMARY KEY,  -- the public part, shown in lists and logs
    key_hash    bytea NOT NULL CHECK (octet_length(key_hash) = 32),   -- HMAC-SHA256 of the secret part
    client_id   varchar(64) NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    expires_at  timestamptz(3),
    revoked_at  timestamptz(3)
);

CREATE TABLE imports (
    import_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name      text NOT NULL,
    file_name       text NOT NULL,
    file_sha256     bytea NOT NULL CHECK (octet_length(file_sha256) = 32),
    mapping_sha256  bytea NOT NULL CHECK (octet_length(mapping_sha256) = 32),
    read_count      bigint NOT NULL,
    loaded_count    bigint NOT NULL,
    rejected_count  bigint NOT NULL,
    started_at      timestamptz(3) NOT NULL,
    finished_at     timestamptz(3) NOT NULL DEFAULT now(),
    CHECK (read_count = loaded_count + rejected_count)
);
