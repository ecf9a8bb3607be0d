-- What the page Find shows of the months of tables. See api/dashboard/search.py.

-- name: months
-- Every month of some tables and its parts: the tier, and the certificate of a deletion.
SELECT table_name, month, part, tier, certificate
FROM archive_months
WHERE table_name = ANY(%(tables)s)
ORDER BY table_name, month, part
