-- Unfinished internal rows that the supplier statement decides. DuckDB runs these over the tables of matching.sql.

-- name: decided
-- Matched with a line under the very reference that the supplier knows the row by, and the line says how it ended. Not
-- where another line of the same reference says otherwise: that is for people.
WITH under_way AS (
    SELECT own_id, supplier_reference, supplier_id, vas_type, product_code, amount FROM own WHERE raw_status = 'processing'
), listed AS (
    SELECT line_no, reference, status, supplier_id, commission FROM line
    WHERE side = 'purchase' AND reference IN (SELECT supplier_reference FROM under_way)
), contradicted AS (
    SELECT reference FROM listed GROUP BY reference HAVING count(DISTINCT status) > 1
)
SELECT o.own_id, o.supplier_reference, o.vas_type, o.product_code, o.amount, t.line_no, c.line_status::VARCHAR AS status,
       t.supplier_id, t.commission, f.fingerprint
FROM under_way AS o
JOIN compared AS c ON c.own_id = o.own_id
JOIN listed AS t ON t.line_no = c.line_no AND t.reference = o.supplier_reference
JOIN found AS n ON n.own_id = o.own_id AND n.line_no = c.line_no
JOIN ({found_rows}) AS f ON f.found_no = n.found_no
WHERE c.line_status <> 'pending' AND coalesce(t.supplier_id = o.supplier_id, true)
  AND t.reference NOT IN (SELECT reference FROM contradicted)
ORDER BY o.own_id

-- name: absent
-- Of earlier days, and neither this statement nor an earlier one has a line for them, not even a likely one.
SELECT own_id, supplier_reference FROM own
WHERE raw_status = 'processing' AND side = 'purchase' AND day < getvariable('day') AND NOT taken
  AND own_id NOT IN (SELECT own_id FROM pair) AND own_id NOT IN (SELECT own_id FROM suggestion)
  AND supplier_reference NOT IN (SELECT reference FROM line WHERE reference IS NOT NULL)
ORDER BY own_id

-- name: elsewhere
-- Not matched, though there is a line under their own reference: it is another row's, or in another currency.
SELECT o.own_id, o.supplier_reference, min(l.line_no) AS line_no, any_value(f.fingerprint) AS fingerprint
FROM own AS o JOIN line AS l ON l.reference = o.supplier_reference
LEFT JOIN found AS n ON n.own_id = o.own_id AND n.line_no IS NULL
LEFT JOIN ({found_rows}) AS f ON f.found_no = n.found_no
WHERE o.raw_status = 'processing' AND NOT o.taken AND o.own_id NOT IN (SELECT own_id FROM pair)
GROUP BY o.own_id, o.supplier_reference
ORDER BY o.own_id
