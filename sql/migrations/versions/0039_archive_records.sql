-- The objects that say who held, released, deleted or sent back what: each is here before its upload begins. A run that was
-- killed then leaves one in the archive of which nothing else knows. Of any other one somebody else is the author.
CREATE TABLE archive_records (
    object_key   text PRIMARY KEY,
    begun_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
