-- A month may have several parts: the first is the month as it was archived, further ones are rows that came late, each
-- with a proof of its own. At most one part of a month is in PostgreSQL.
ALTER TABLE archive_uploads DROP CONSTRAINT archive_uploads_table_name_month_fkey;
ALTER TABLE archive_months
    ADD COLUMN part smallint NOT NULL DEFAULT 1 CHECK (part >= 1),
    ADD COLUMN keys_tell_month boolean NOT NULL DEFAULT false,  -- proved at export: every key is one of the month
    ADD COLUMN columns jsonb,                                   -- of the archived rows: field_id, name, kind, ...
    DROP CONSTRAINT archive_months_pkey,
    ADD PRIMARY KEY (table_name, month, part);
CREATE UNIQUE INDEX archive_months_in_postgres ON archive_months (table_name, month) WHERE tier IN ('hot', 'warm');
ALTER TABLE archive_uploads
    ADD COLUMN part smallint NOT NULL DEFAULT 1,
    ADD FOREIGN KEY (table_name, month, part) REFERENCES archive_months;

-- The number of every column that a table has, or had: it stays when the column is renamed, and is never given twice.
-- Rows are never deleted. Which column of PostgreSQL it is: the attribute of a relation of a database.
CREATE TABLE archive_columns (
    table_name         text NOT NULL,
    field_id           integer NOT NULL CHECK (field_id >= 1),
    name               text NOT NULL,                  -- now, or when it was dropped
    former_names       text[] NOT NULL DEFAULT '{}',   -- in the order in which it had them
    system_identifier  text,
    database_oid       bigint NOT NULL,
    relation_oid       bigint NOT NULL,
    attribute          smallint NOT NULL,
    seen_at            timestamptz(3) NOT NULL DEFAULT now(),
    dropped_at         timestamptz(3),
    PRIMARY KEY (table_name, field_id)
);
