-- What the import knows of a row reveals much of its values, so it goes when the month of the row is deleted. The month is
-- in the row's id, and the table from here on beside it. Entries of earlier versions have NULL.
ALTER TABLE import_identities ADD COLUMN table_name text;

DROP TRIGGER import_identities_kept ON import_identities;
CREATE TRIGGER import_identities_kept BEFORE UPDATE OR TRUNCATE ON import_identities
    EXECUTE FUNCTION treasury_refuse_change();

-- After a DELETE: an entry goes only after a deletion of its month has begun. The first 48 bits of an id are milliseconds.
DO $migration$ BEGIN EXECUTE format($definition$
CREATE FUNCTION treasury_keep_identities() RETURNS trigger LANGUAGE plpgsql SET search_path = %I, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (
            SELECT DISTINCT table_name, date_trunc('month', to_timestamp(
                ('x' || left(translate(row_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC')::date AS month
            FROM gone
        ) AS of
        WHERE NOT EXISTS (
            SELECT FROM archive_months m
            WHERE m.month = of.month AND m.tier = 'deleted' AND m.table_name = coalesce(of.table_name, m.table_name))
    ) THEN
        RAISE EXCEPTION 'rows of %% are only added, until their month is deleted', TG_TABLE_NAME USING ERRCODE = 'TR001';
    END IF;
    RETURN NULL;
END $$
$definition$, current_schema()); END $migration$;
CREATE TRIGGER import_identities_deleted AFTER DELETE ON import_identities REFERENCING OLD TABLE AS gone
    EXECUTE FUNCTION treasury_keep_identities();
ALTER TABLE import_identities ENABLE ALWAYS TRIGGER import_identities_kept;
ALTER TABLE import_identities ENABLE ALWAYS TRIGGER import_identities_deleted;
