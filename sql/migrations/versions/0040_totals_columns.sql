-- Kept totals say which columns they were grouped by: currency, type and status, NULL for one that the table has not. So those
-- of a description that has changed since do not hold. The built-in tables have had these columns from the start. What was
-- kept of other tables is computed again.
ALTER TABLE daily_totals_places ADD COLUMN kind_columns text[] NOT NULL DEFAULT '{}';
UPDATE daily_totals_places
SET kind_columns = '{currency,type,status}'
WHERE table_name IN ('transactions', 'vas_transactions');
ALTER TABLE daily_totals_places ALTER COLUMN kind_columns DROP DEFAULT;
