-- Copies of archived months in a schema of their own, for a limited time (docs/restoring.md). A copy is a table that is
-- known by its OID; it has its name, and may be read, once its rows were compared with the archive.
CREATE TABLE restored_months (
    restore_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text NOT NULL,
    month         date NOT NULL CHECK (extract(day FROM month) = 1),
    part          smallint NOT NULL,
    state         text NOT NULL DEFAULT 'loading' CHECK (state IN ('loading', 'ready', 'dropped')),
    relation_oid  oid NOT NULL,
    schema_name   text NOT NULL,
    relation_name text NOT NULL,                       -- the name that it has now
    row_count     bigint NOT NULL CHECK (row_count >= 0),
    actor         varchar(128) NOT NULL,
    account       varchar(128) NOT NULL,
    reason        varchar(1000) NOT NULL,
    begun_at      timestamptz(3) NOT NULL DEFAULT now(),
    ready_at      timestamptz(3),
    expires_at    timestamptz(3),                      -- from here on it is dropped
    dropped_at    timestamptz(3),
    CHECK (state = 'loading' OR state = 'dropped' OR (ready_at IS NOT NULL AND expires_at IS NOT NULL)),
    CHECK ((state = 'dropped') = (dropped_at IS NOT NULL))
);
CREATE UNIQUE INDEX restored_months_ready ON restored_months (table_name, month, part) WHERE state = 'ready';
