-- Matches that are decided before a run: a person confirmed them, or the other side was to be corrected. Run by DuckDB,
-- over the tables of matching.sql.

-- name: create_confirmed
-- Lines of the day with the internal rows that belong to them, one row a pair, from the breaks that held them.
CREATE TABLE confirmed AS
SELECT (decided ->> 'break_id')::BIGINT AS break_id, (decided ->> 'own_id')::UUID AS own_id, decided ->> 'method' AS method,
       decided ->> 'supplier_transaction_id' AS supplier_id, decided ->> 'reference' AS reference, decided ->> 'kind' AS kind,
       (decided ->> 'at_ms')::BIGINT AS at_ms, decided ->> 'currency' AS currency,
       abs((decided ->> 'amount')::DECIMAL(18,2))::DECIMAL(18,2) AS amount, decided ->> 'payout_reference' AS payout_reference
FROM (SELECT unnest($confirmed::VARCHAR[])::JSON AS decided)

-- name: create_expected_line
CREATE TABLE expected_line AS SELECT -unnest($breaks::BIGINT[]) AS line_no

-- name: create_expected_own
CREATE TABLE expected_own AS SELECT unnest($rows::VARCHAR[])::UUID AS own_id

-- name: match_confirmed
-- A line is found by its facts, and of several equal ones by their order: its number changes with the statement.
INSERT INTO pair
WITH wanted AS (
    SELECT *, dense_rank() OVER (PARTITION BY supplier_id, reference, kind, at_ms, currency, amount, payout_reference
                                 ORDER BY break_id) AS nth
    FROM confirmed
), theirs AS (
    SELECT line_no, supplier_id, reference, kind, at_ms, currency, amount, payout_reference,
           row_number() OVER (PARTITION BY supplier_id, reference, kind, at_ms, currency, amount, payout_reference
                              ORDER BY line_no) AS nth
    FROM line WHERE NOT carried AND at_ms IN (SELECT at_ms FROM confirmed)
)
SELECT t.line_no, o.own_id, w.method, 1
FROM wanted AS w JOIN theirs AS t
  ON t.at_ms = w.at_ms AND t.kind = w.kind AND t.currency = w.currency AND t.amount = w.amount AND t.nth = w.nth
 AND t.supplier_id IS NOT DISTINCT FROM w.supplier_id AND t.reference IS NOT DISTINCT FROM w.reference
 AND t.payout_reference IS NOT DISTINCT FROM w.payout_reference
JOIN own AS o ON o.own_id = w.own_id AND NOT o.taken

-- name: settle_confirmed
-- That it is the same transaction is decided: its time and its product no longer matter. Money does.
UPDATE compared
SET issues = list_filter(issues, lambda issue: issue::VARCHAR NOT IN ('late_posting', 'time', 'product'))
WHERE method = 'confirmed'

-- name: settle_expected
-- A correction comes later than what it corrects.
UPDATE compared
SET issues = list_filter(issues, lambda issue: issue::VARCHAR NOT IN ('late_posting', 'time'))
WHERE line_no IN (SELECT line_no FROM expected_line) OR own_id IN (SELECT own_id FROM expected_own)
