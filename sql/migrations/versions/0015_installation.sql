-- Which database an archive belongs to. The row is made when the database first writes to an archive, not here: a copy
-- of a database that has archived nothing is then an installation of its own.
CREATE TABLE installation (
    only_one           boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    installation_id    uuid NOT NULL,
    incarnation        integer NOT NULL DEFAULT 1 CHECK (incarnation > 0),
    system_identifier  text,                           -- of the server, NULL where the role may not read it
    database_oid       bigint NOT NULL,
    token              uuid,                           -- in the archive's marker since the last confirmation
    intended           uuid[] NOT NULL DEFAULT '{}',   -- about to be put there: recorded before the first byte
    location           text,                           -- URL of the archive at the last confirmation
    made_at            timestamptz(3) NOT NULL DEFAULT now(),
    confirmed_at       timestamptz(3)
);

-- What happened to the installation, in order; rows are only added.
CREATE TABLE installation_events (
    event_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id  uuid NOT NULL,
    incarnation      integer NOT NULL,
    event            text NOT NULL CHECK (event IN ('made', 'continued', 'separated')),
    detail           jsonb NOT NULL DEFAULT '{}',
    happened_at      timestamptz(3) NOT NULL DEFAULT now()
);

-- Which installation recorded an upload; NULL in rows that are older than this column, which nothing removes.
ALTER TABLE archive_uploads
    ADD COLUMN installation_id uuid,
    ADD COLUMN incarnation integer,
    DROP CONSTRAINT archive_uploads_state_check,
    -- deciding: the flip is about to commit, so a copy of the database taken now cannot know whether it did.
    -- kept: left in the bucket on purpose, because another database may need it.
    ADD CONSTRAINT archive_uploads_state_check
        CHECK (state IN ('intended', 'deciding', 'current', 'removed', 'kept'));
