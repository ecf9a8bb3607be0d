-- Looks at the rows without stopping a writer. A month moves between parents only when its rules are known to hold.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['vas_transactions_partitioned', 'vas_transactions_archive_warm'] LOOP
        IF to_regclass(parent) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT vas_transactions_supplier', parent);
        END IF;
    END LOOP;
END $$;
