-- Which suppliers there are is a setting: the database holds the form of their names only. Every row keeps the new rule,
-- for it kept the old one, so nothing is scanned while writers wait: the next migration looks at the rows.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['vas_transactions_partitioned', 'vas_transactions_archive_warm'] LOOP
        IF to_regclass(parent) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT vas_transactions_supplier,'
                ' ADD CONSTRAINT vas_transactions_supplier CHECK (supplier ~ ''^[a-z][a-z0-9_]{0,15}$'') NOT VALID', parent);
        END IF;
    END LOOP;
END $$;
