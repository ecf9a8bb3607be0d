-- When the objects of the archive were last read again. See sql/verified.py.

-- name: parts
-- Archived parts of months, the one that was read longest ago first: those in the default storage class, or the others. A
-- part is as old as its oldest object. A time to come is a wrong clock's and counts as none: the part would be read last,
-- for years. The former parts of months that went back to warm are parts, too: their objects were read for the return, and
-- are in the class that the log says.
WITH deepened AS (
    SELECT DISTINCT ON (body ->> 'manifest_sha256') body ->> 'manifest_sha256' AS manifest_sha256,
           body ->> 'storage_class' AS storage_class
    FROM log_events e
    CROSS JOIN LATERAL (SELECT convert_from(e.entry, 'UTF8')::jsonb -> 'body' AS body) AS of_event
    WHERE e.installation_id = (SELECT installation_id FROM installation) AND e.event = 'deepened' AND e.replaced_at IS NULL
    ORDER BY body ->> 'manifest_sha256', e.event_id DESC
), stored AS (
    SELECT m.table_name, m.month, m.part, NULL AS former_key, o.object_key, m.object_bytes, m.storage_class,
           m.verified_at AS read_at, m.cold_at AS stored_at
    FROM archive_months m
    JOIN archive_objects o USING (table_name, month, part)
    UNION ALL
    SELECT f.table_name, f.month, f.part, of_rows.object_key, f.object_key, of_rows.size_bytes, d.storage_class,
           r.returned_at, NULL
    FROM former_objects of_rows
    JOIN month_returns r USING (return_id)
    JOIN former_objects manifest ON (manifest.return_id, manifest.part, manifest.kind) = (r.return_id, of_rows.part, 'manifest')
    JOIN former_objects f ON (f.return_id, f.part) = (r.return_id, of_rows.part)
    LEFT JOIN deepened d ON d.manifest_sha256 = encode(manifest.sha256, 'hex')
    WHERE of_rows.kind = 'rows' AND of_rows.certificate IS NULL
)
SELECT s.table_name, to_char(s.month, 'YYYY-MM') AS month, s.part, min(known.verified_at) AS verified_at,
       coalesce(s.object_bytes, 0) AS size_bytes, s.former_key
FROM stored s
LEFT JOIN archive_verified v USING (object_key)
CROSS JOIN LATERAL (
    SELECT at FROM (VALUES (1, v.verified_at), (2, s.read_at), (3, s.stored_at), (4, s.month::timestamptz)) AS t (place, at)
    WHERE at <= clock_timestamp()
    ORDER BY place LIMIT 1
) AS known (verified_at)
WHERE (s.storage_class IS NOT NULL) = %(classed)s
GROUP BY s.table_name, s.month, s.part, s.former_key, s.object_bytes
ORDER BY verified_at, s.table_name, s.month, s.part, s.former_key

-- name: archived
-- Archived parts of months for people, newest first, with the place of their event in the log: of one month, or of the
-- newest months before a limit. A month is never divided.
WITH logged AS (
    SELECT body ->> 'table' AS table_name, body ->> 'month' AS month, (body ->> 'part')::integer AS part,
           max(entry_index) AS log_entry
    FROM log_events e
    JOIN log_state s USING (installation_id)
    CROSS JOIN LATERAL (SELECT convert_from(e.entry, 'UTF8')::jsonb -> 'body' AS body) AS one
    WHERE e.installation_id = (SELECT installation_id FROM installation) AND e.event = 'archived' AND e.replaced_at IS NULL
      AND e.entry_index < s.published_size
    GROUP BY 1, 2, 3
), wanted AS (
    SELECT DISTINCT month
    FROM archive_months
    WHERE tier IN ('cold', 'deep')
      AND (%(table)s::text IS NULL OR table_name = %(table)s)
      AND (%(month)s::date IS NULL OR month = %(month)s)
      AND (%(first)s::date IS NULL OR month >= %(first)s)
      AND (%(last)s::date IS NULL OR month <= %(last)s)
      AND (%(before)s::date IS NULL OR month < %(before)s)
    ORDER BY month DESC
    LIMIT %(limit)s
)
SELECT m.table_name, to_char(m.month, 'YYYY-MM'), m.part, m.tier, m.row_count, m.sums, m.cold_at,
       (SELECT min(coalesce(v.verified_at, m.verified_at))
        FROM archive_objects o LEFT JOIN archive_verified v USING (object_key)
        WHERE (o.table_name, o.month, o.part) = (m.table_name, m.month, m.part)),
       l.log_entry, encode(m.digest, 'hex'), (m.tree ->> 'leaves')::bigint,
       m.manifest_key, encode(m.manifest_sha256, 'hex'),
       m.object_key, m.object_bytes, encode(m.object_sha256, 'hex'),
       m.tree ->> 'key', (m.tree ->> 'size_bytes')::bigint, m.tree ->> 'sha256',
       m.lookup ->> 'key', (m.lookup ->> 'size_bytes')::bigint, m.lookup ->> 'sha256', m.storage_class
FROM archive_months m
JOIN wanted USING (month)
LEFT JOIN logged l ON (l.table_name, l.month, l.part) = (m.table_name, to_char(m.month, 'YYYY-MM'), m.part)
WHERE m.tier IN ('cold', 'deep') AND (%(table)s::text IS NULL OR m.table_name = %(table)s)
ORDER BY m.month DESC, m.table_name, m.part

-- name: month_tier
-- The tier of the newest part of a month that is not deleted, or of a deleted month; the newest certificate of a deletion
-- of any part, also where held rows are left; the last day of the work on a month that went back to warm.
SELECT tier, (SELECT p.certificate FROM archive_months p
              WHERE (p.table_name, p.month) = (m.table_name, m.month) AND p.certificate IS NOT NULL
              ORDER BY p.part DESC LIMIT 1), work_until
FROM archive_months m
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY tier = 'deleted', part DESC
LIMIT 1

-- name: log_folder
-- Where the log of this installation lies in the archive.
SELECT folder
FROM log_state
WHERE installation_id = (SELECT installation_id FROM installation) AND checkpoint IS NOT NULL

-- name: newest_checkpoint
-- How many entries the log of this installation has at its newest checkpoint, and when that was published.
SELECT published_size, published_at
FROM log_state
WHERE installation_id = (SELECT installation_id FROM installation) AND checkpoint IS NOT NULL

-- name: mark
INSERT INTO archive_verified (object_key, table_name, month, part, verified_at, deep)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, clock_timestamp(), %(deep)s)
ON CONFLICT (object_key) DO UPDATE SET verified_at = excluded.verified_at, deep = excluded.deep
