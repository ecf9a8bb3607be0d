-- What people are shown of the life of months, for logins that own nothing: estimates of PostgreSQL, and the events.

-- name: estimates
-- Rows of partitions as the server estimates them, NULL before it has looked, and their bytes now.
SELECT c.oid, CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup WHEN c.reltuples >= 0 THEN c.reltuples::bigint END,
       (SELECT coalesce(sum(pg_total_relation_size(below.oid)), 0)::bigint
        FROM (SELECT c.oid AS oid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS below)
FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.oid = ANY(%(partitions)s::oid[])

-- name: may_read
SELECT has_table_privilege(%(relation)s::oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE')
FROM pg_class c WHERE c.oid = %(relation)s::oid

-- name: shape
SELECT relkind::text FROM pg_class WHERE oid = %(relation)s::oid

-- name: events
SELECT event, detail, happened_at
FROM archive_events
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY event_id DESC
LIMIT %(limit)s
