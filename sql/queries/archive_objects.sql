-- The objects of archived months. See sql/archive_objects.py.

-- name: of_month
-- Of its parts, and the former ones of the month behind them.
SELECT part, kind, object_key, size_bytes, sha256, is_former
FROM stored_objects
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY is_former, part, place, object_key

-- name: amounts
-- Of each part of a table, and of the former objects of each: how many objects, and the bytes of those beside its rows.
SELECT month, part, is_former, count(*), coalesce(sum(size_bytes) FILTER (WHERE kind <> 'rows'), 0)::bigint
FROM stored_objects
WHERE table_name = %(table)s
GROUP BY month, part, is_former
ORDER BY month, part, is_former
