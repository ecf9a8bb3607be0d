-- The objects of archived months. See sql/archive_objects.py.

-- name: of_month
-- Of its parts, and the former ones of the month behind them.
SELECT part, kind, object_key, size_bytes, sha256, is_former
FROM stored_objects
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY is_former, part, place, object_key

-- name: count
-- Of all archived parts of a table, former ones, too.
SELECT count(*) FROM stored_objects WHERE table_name = %(table)s
