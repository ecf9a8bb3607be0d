-- Daily totals (docs/totals.md). A place is a partition of PostgreSQL or an object of the archive. Its totals are used only
-- while the fingerprint is the one of now, and, for a partition, while nobody has written to it since.
CREATE TABLE daily_totals_places (
    place_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text NOT NULL,
    month         date NOT NULL CHECK (extract(day FROM month) = 1),
    relation_oid  oid,
    object_key    text,
    fingerprint   text NOT NULL,
    money_columns text[] NOT NULL,                 -- in the order of daily_totals.sums
    row_count     bigint NOT NULL CHECK (row_count >= 0),
    kept_at       timestamptz(3) NOT NULL DEFAULT now(),
    CHECK ((relation_oid IS NULL) <> (object_key IS NULL)),
    UNIQUE (table_name, relation_oid),
    UNIQUE (table_name, object_key)
);

-- A row has the totals of a piece: the rows that lie in one UTC day and in one Johannesburg day. A UTC day is two pieces, and
-- so is a Johannesburg day. `detail` says which columns are told apart: 0 the currency, 1 also the client, 2 all of them.
CREATE TABLE daily_totals (
    place_id   bigint NOT NULL REFERENCES daily_totals_places ON DELETE CASCADE,
    detail     smallint NOT NULL CHECK (detail IN (0, 1, 2)),
    utc_day    date NOT NULL,
    sa_day     date NOT NULL CHECK (sa_day IN (utc_day, utc_day + 1)),
    client_id  text,
    type       text,
    status     text,
    currency   text,
    supplier   text,
    row_count  bigint NOT NULL CHECK (row_count > 0),
    sums       numeric[] NOT NULL
);
CREATE INDEX daily_totals_piece ON daily_totals (place_id, detail, client_id, utc_day);

-- Transactions that wrote to a partition whose totals are kept. While one is seen, the totals of the partition are not used.
CREATE TABLE daily_totals_changes (
    relation_oid  oid NOT NULL,
    transaction   xid8 NOT NULL,
    PRIMARY KEY (relation_oid, transaction)
);

-- After a write to a row of a month that has ended. It runs as its owner, so that whoever may write to the ledger needs no
-- privilege on the project's tables. Whether this very transaction has marked the partition is all that may be asked: a mark
-- of another one may be removed before this one commits.
DO $migration$ BEGIN EXECUTE format($definition$
CREATE FUNCTION treasury_mark_totals() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM daily_totals_changes
                   WHERE (relation_oid, transaction) = (TG_RELID, pg_current_xact_id())) THEN
        INSERT INTO daily_totals_changes (relation_oid, transaction) VALUES (TG_RELID, pg_current_xact_id());
    END IF;
    RETURN NULL;
END $$
$definition$, current_schema()); END $migration$;

-- What PostgreSQL itself stores of a partition, and changes whenever rows of it can change without a mark: its file, the
-- trigger and the function that mark, with the transactions that wrote them, and its columns. NULL where no write is marked
-- for sure: the trigger is not there, not on every write, not enabled whatever the session's replication role; or the
-- partition is no plain table.
DO $migration$ BEGIN EXECUTE format($definition$
CREATE FUNCTION treasury_totals_fingerprint(relation oid) RETURNS text LANGUAGE sql STABLE SET search_path = %I, pg_temp AS $$
    SELECT format('%%s %%s trigger %%s %%s function %%s %%s columns %%s', c.oid, c.relfilenode, t.oid, t.xmin, f.oid, f.xmin,
                  (SELECT string_agg(format('%%s %%s %%s %%s', a.attname, a.attnum, a.atttypid, a.atttypmod), ', '
                                     ORDER BY a.attnum)
                   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
    FROM pg_class c
    JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'treasury_mark_totals'
    JOIN pg_proc f ON f.oid = t.tgfoid
    WHERE c.oid = relation AND c.relkind = 'r' AND t.tgfoid = 'treasury_mark_totals'::regproc
      AND (t.tgenabled, t.tgtype) = ('A', 29) AND t.tgqual IS NULL AND t.tgattr = ''
$$
$definition$, current_schema()); END $migration$;
