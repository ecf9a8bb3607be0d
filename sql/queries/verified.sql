-- When the objects of the archive were last read again. See sql/verified.py.

-- name: parts
-- Every archived part of a month, the one that was read longest ago first. The part is as old as its oldest object.
SELECT m.table_name, to_char(m.month, 'YYYY-MM') AS month, m.part,
       min(coalesce(v.verified_at, m.verified_at, m.cold_at)) AS verified_at, coalesce(m.object_bytes, 0) AS size_bytes
FROM archive_months m
CROSS JOIN LATERAL unnest(ARRAY[m.object_key, m.manifest_key, m.tree ->> 'key']) AS o (stored_key)
LEFT JOIN archive_verified v ON v.object_key = o.stored_key
WHERE m.tier IN ('cold', 'deep') AND o.stored_key IS NOT NULL
GROUP BY m.table_name, m.month, m.part, m.verified_at, m.cold_at, m.object_bytes
ORDER BY verified_at, m.table_name, m.month, m.part

-- name: mark
INSERT INTO archive_verified (object_key, table_name, month, part, verified_at, deep)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, clock_timestamp(), %(deep)s)
ON CONFLICT (object_key) DO UPDATE SET verified_at = excluded.verified_at, deep = excluded.deep
