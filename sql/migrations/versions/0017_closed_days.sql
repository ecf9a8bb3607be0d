-- Our side of a closed day: what it was when the day was closed, what was found to have changed since, and the guard that
-- refuses what may not change. Columns that are added here are left out of a record's digest while they are NULL.

ALTER TABLE recon_periods
    ADD COLUMN own_rows    bigint CHECK (own_rows >= 0),      -- our rows of all its days
    ADD COLUMN own_sums    jsonb,                             -- by currency; money as decimal text
    ADD COLUMN own_digest  bytea CHECK (octet_length(own_digest) = 32);   -- SHA-256 over the digests of its days, in order

-- Our rows of a closed day: the first state is that of the closing, each further one what a run found afterwards. Periods and
-- runs are named and not referenced: who removes one of those past its trigger is found by the chain, not stopped by this.
CREATE TABLE recon_closed_days (
    state_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier       varchar(16) NOT NULL,
    day            date NOT NULL,                             -- Africa/Johannesburg
    period_id      bigint NOT NULL,
    run_id         bigint NOT NULL,                           -- that the day was closed on, or that found the change
    previous       bigint UNIQUE REFERENCES recon_closed_days,
    row_count      bigint NOT NULL CHECK (row_count >= 0),
    sums           jsonb NOT NULL,
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    object_key     text NOT NULL,                             -- a line a row, in the archive
    object_sha256  bytea NOT NULL CHECK (octet_length(object_sha256) = 32),
    noted_at       timestamptz(3) NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX recon_closed_days_first ON recon_closed_days (supplier, day) WHERE previous IS NULL;
CREATE INDEX recon_closed_days_newest ON recon_closed_days (supplier, day DESC, state_id DESC);
CREATE INDEX recon_closed_days_period ON recon_closed_days (period_id);
CREATE TRIGGER recon_closed_days_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_closed_days
    EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE recon_closed_days ENABLE ALWAYS TRIGGER recon_closed_days_kept;

-- Writes to our rows of days that are proposed for closing or closed: a closing that began before one of these was
-- committed does not know it, and the next run looks at the day again. Runs delete what they have looked at.
CREATE TABLE recon_day_changes (
    change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier    varchar(16) NOT NULL,
    day         date NOT NULL,
    row_id      uuid,                                         -- NULL: rows that came in
    changed_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX recon_day_changes_day ON recon_day_changes (supplier, day);

ALTER TABLE recon_breaks DROP CONSTRAINT recon_breaks_class_check;
ALTER TABLE recon_breaks ADD CONSTRAINT recon_breaks_class_check CHECK (class IN ('missing_here', 'missing_there',
    'duplicate', 'amount', 'status', 'late_posting', 'product', 'time', 'commission', 'closed_period_changed'));

-- Before an UPDATE of a row of a former Johannesburg day (the trigger's condition, see sql/guards.py). In a closed day a
-- row under way may still end as its purchase did, which `processed_at` marks (sql/queries/vending.sql, `finish`); nothing
-- else that reconciliation compares may change. The shared lock keeps a closing out until the transaction ends. It runs
-- as its owner: whoever may update the ledger needs no privilege on reconciliation's tables, and no search path of a
-- session redirects it.
DO $migration$ BEGIN EXECUTE format($definition$
CREATE FUNCTION treasury_guard_period() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS $$
DECLARE
    of_day date := (OLD.created_at AT TIME ZONE 'UTC' + interval '2 hours')::date;
    told text;
BEGIN
    IF ROW(OLD.supplier, OLD.type, OLD.status, OLD.amount, OLD.currency, OLD.reference, OLD.supplier_reference,
           OLD.supplier_transaction_id, OLD.supplier_product_id, OLD.vas_type, OLD.commission)
       IS NOT DISTINCT FROM
       ROW(NEW.supplier, NEW.type, NEW.status, NEW.amount, NEW.currency, NEW.reference, NEW.supplier_reference,
           NEW.supplier_transaction_id, NEW.supplier_product_id, NEW.vas_type, NEW.commission) THEN
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(least(OLD.supplier, NEW.supplier), 7303016));
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(greatest(OLD.supplier, NEW.supplier), 7303016));
    SELECT format('%%s %%s is in the closed period %%s to %%s', supplier, of_day, first_day, last_day) INTO told
    FROM recon_periods
    WHERE supplier IN (OLD.supplier, NEW.supplier) AND of_day BETWEEN first_day AND last_day LIMIT 1;
    IF told IS NOT NULL AND (
           OLD.status NOT IN ('pending', 'processing') OR NEW.status IN ('pending', 'processing')
           OR NEW.processed_at IS NOT DISTINCT FROM OLD.processed_at
           OR ROW(OLD.supplier, OLD.type, OLD.amount, OLD.currency, OLD.reference, OLD.supplier_reference,
                  OLD.supplier_product_id, OLD.vas_type)
              IS DISTINCT FROM
              ROW(NEW.supplier, NEW.type, NEW.amount, NEW.currency, NEW.reference, NEW.supplier_reference,
                  NEW.supplier_product_id, NEW.vas_type)) THEN
        RAISE EXCEPTION '%%: row %% does not change any more', told, OLD.id USING ERRCODE = 'TR003';
    END IF;
    INSERT INTO recon_day_changes (supplier, day, row_id)
    SELECT one, of_day, OLD.id FROM unnest(ARRAY[OLD.supplier, nullif(NEW.supplier, OLD.supplier)]) AS changed(one)
    WHERE one IS NOT NULL AND (told IS NOT NULL OR EXISTS (
        SELECT FROM recon_period_proposals p
        WHERE p.supplier = one AND p.action = 'proposed' AND of_day BETWEEN p.first_day AND p.last_day));
    RETURN NEW;
END $$
$definition$, current_schema()); END $migration$;
