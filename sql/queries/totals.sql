-- Daily totals that are kept: of which places, whether they still hold, and the sums. See docs/totals.md.

-- name: lock
SELECT pg_try_advisory_lock(hashtextextended('daily totals', 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('daily totals', 7305824))

-- name: fingerprint
SELECT treasury_totals_fingerprint(%(relation)s)

-- name: valid
-- The places whose totals may be used, of those that are asked for.
SELECT p.place_id, p.relation_oid, p.object_key, p.row_count
FROM daily_totals_places p
WHERE p.table_name = %(table)s AND p.money_columns = %(money_columns)s::text[] AND p.kind_columns = %(kind_columns)s::text[]
  AND (p.relation_oid = ANY(%(relations)s::oid[]) AND p.fingerprint = treasury_totals_fingerprint(p.relation_oid)
       AND NOT EXISTS (SELECT FROM daily_totals_changes c WHERE c.relation_oid = p.relation_oid)
       OR (p.object_key, p.fingerprint) IN (SELECT * FROM unnest(%(objects)s::text[], %(fingerprints)s::text[])))

-- name: kept_sums
-- The places whose totals may be used, each a row with NULLs, and the totals of all of them, in the order of keys.
WITH valid AS MATERIALIZED ({valid}),
found AS (
    SELECT NULL::bigint AS place_id, NULL::oid, NULL::text, {named}, {added}
    FROM daily_totals
    WHERE place_id IN (SELECT place_id FROM valid) AND detail = %(detail)s
      AND {day} BETWEEN %(first)s AND %(last)s {client}
    {grouped}
    UNION ALL
    SELECT place_id, relation_oid, object_key, NULL, {nothing}, {counted}
    FROM valid)
SELECT * FROM found ORDER BY place_id, {order}

-- name: forget_changes
DELETE FROM daily_totals_changes WHERE relation_oid = %(relation)s

-- name: forget_relation
DELETE FROM daily_totals_places WHERE table_name = %(table)s AND relation_oid = %(relation)s

-- name: forget_object
DELETE FROM daily_totals_places WHERE table_name = %(table)s AND object_key = %(object)s

-- name: forget_deleted
-- The totals of parts of a month whose deletion begins: a group of them may be a single row.
DELETE FROM daily_totals_places AS p
USING archive_months AS m
WHERE (m.table_name, m.object_key) = (p.table_name, p.object_key)
  AND m.table_name = %(table)s AND m.month = %(month)s AND m.part = ANY(%(parts)s::smallint[])

-- name: forget_others
-- Totals of what was a place of the table, and is not any more. Of no places at all, NULL is another value too.
DELETE FROM daily_totals_places
WHERE table_name = %(table)s
  AND (relation_oid IS NOT NULL AND relation_oid <> ALL(%(relations)s::oid[])
       OR object_key IS NOT NULL AND object_key <> ALL(%(objects)s::text[]))

-- name: forget_gone_changes
DELETE FROM daily_totals_changes c WHERE NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = c.relation_oid)

-- name: hold_archived
-- A row while an object is that of an archived month; its deletion waits for the end of this transaction.
SELECT 1 FROM archive_months
WHERE table_name = %(table)s AND object_key = %(object)s AND tier IN ('cold', 'deep')
FOR SHARE

-- name: add_place
INSERT INTO daily_totals_places (table_name, month, relation_oid, object_key, fingerprint, money_columns, kind_columns,
                                 row_count)
VALUES (%(table)s, %(month)s, %(relation)s, %(object)s, %(fingerprint)s, %(money_columns)s, %(kind_columns)s, %(row_count)s)
RETURNING place_id

-- name: count_rows
UPDATE daily_totals_places AS p
SET row_count = (SELECT coalesce(sum(t.row_count), 0) FROM daily_totals t WHERE t.place_id = p.place_id AND t.detail = 0)
WHERE p.place_id = %(place)s
RETURNING p.row_count

-- name: copy_rows
COPY daily_totals (place_id, detail, utc_day, sa_day, client_id, type, status, currency, supplier, row_count, sums) FROM STDIN

-- name: unkept
-- Months that have ended and have no totals that hold, with the time since when they could have them. Of a partition that
-- somebody has written to, that is when its totals were kept last.
SELECT m.table_name, to_char(m.month, 'YYYY-MM') AS month,
       greatest(m.cold_at, m.warm_at, m.created_at, (m.month + interval '1 month') AT TIME ZONE 'UTC', p.kept_at) AS since
FROM archive_months m
JOIN jsonb_to_recordset(%(tables)s) AS t(name text, money_columns jsonb, kind_columns jsonb) ON t.name = m.table_name
LEFT JOIN LATERAL (
    SELECT p.kept_at, (to_jsonb(p.money_columns), to_jsonb(p.kind_columns)) = (t.money_columns, t.kind_columns)
               AND (p.object_key IS NOT NULL
                    OR p.fingerprint = treasury_totals_fingerprint(p.relation_oid)
                       AND NOT EXISTS (SELECT FROM daily_totals_changes c WHERE c.relation_oid = p.relation_oid)) AS holds
    FROM daily_totals_places p
    WHERE p.table_name = m.table_name AND p.month = m.month
      AND (m.tier IN ('hot', 'warm') AND p.relation_oid IS NOT NULL OR p.object_key = m.object_key)
    ORDER BY 2 DESC LIMIT 1) AS p ON true
WHERE m.tier IN ('hot', 'warm', 'cold', 'deep') AND p.holds IS NOT TRUE
  AND (m.month + interval '1 month') AT TIME ZONE 'UTC' <= now()
  AND NOT (m.tier IN ('hot', 'warm') AND m.part > 1)  -- late rows are read: some may be archived already
ORDER BY 3, 1, 2
