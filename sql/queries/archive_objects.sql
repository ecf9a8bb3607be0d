-- The objects of archived months. See sql/archive_objects.py.

-- name: of_month
SELECT part, kind, object_key, size_bytes, sha256
FROM archive_objects
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY part, place
