-- When each object of an archived month was last read again and was what the log says (docs/auditing.md). A month without
-- rows here was last read when it was archived: archive_months.verified_at.
CREATE TABLE archive_verified (
    object_key   text PRIMARY KEY,
    table_name   text NOT NULL,
    month        date NOT NULL,
    part         integer NOT NULL CHECK (part > 0),
    verified_at  timestamptz(3) NOT NULL,
    deep         boolean NOT NULL                               -- every row was decoded and hashed, too
);
CREATE INDEX archive_verified_month ON archive_verified (table_name, month, part);
