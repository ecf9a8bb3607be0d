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

-- name: unfinished
-- Some unfinished rows of a month, through its parent; of one client, or of all.
SELECT {key} FROM {parent}
WHERE {time} >= %(lower)s AND {time} < %(upper)s AND ({status} = ANY (%(terminal)s)) IS NOT TRUE
  AND (%(client)s::text IS NULL OR {client} = %(client)s)
LIMIT %(most)s

-- name: shape
SELECT relkind::text FROM pg_class WHERE oid = %(relation)s::oid

-- name: events
-- What happened to a month: its moves, and who holds it, and who asked for, decided
-- and made its deletion. A matter is for those who may read holds.
WITH held AS (
    SELECT * FROM holds
    WHERE coalesce(table_name, %(table)s) = %(table)s AND %(month)s BETWEEN first_month AND last_month
),
requested AS (
    SELECT * FROM deletion_requests
    WHERE plan @> jsonb_build_array(jsonb_build_object('table', %(table)s::text,
                                                       'month', to_char(%(month)s::date, 'YYYY-MM')))
),
deleted AS (SELECT * FROM deletions WHERE table_name = %(table)s AND month = %(month)s)
SELECT event, detail, happened_at
FROM (
    SELECT event, detail, happened_at, event_id
    FROM archive_events
    WHERE table_name = %(table)s AND month = %(month)s
    UNION ALL
    SELECT 'held', jsonb_build_object('hold', 'HOLD-' || hold_id, 'keeps', coalesce('rows of a ' || subject, 'all rows'),
                                      'review', review_on, 'matter', CASE WHEN %(sees_matters)s THEN matter END),
           placed_at, NULL
    FROM held
    UNION ALL
    SELECT 'released', jsonb_build_object('hold', 'HOLD-' || d.hold_id), d.decided_at, NULL
    FROM held JOIN hold_decisions d USING (hold_id)
    WHERE d.action = 'released'
    UNION ALL
    SELECT 'deletion requested',
           jsonb_build_object('request', request_id, 'by', concat_ws(', account ', actor, nullif(account, actor)), 'reason', reason),
           requested_at, NULL
    FROM requested
    UNION ALL
    SELECT 'deletion ' || d.action,
           jsonb_build_object('request', request_id, 'by', concat_ws(', account ', d.actor, nullif(d.account, d.actor)),
                              'reason', d.reason),
           d.decided_at, NULL
    FROM requested JOIN deletion_decisions d USING (request_id)
    UNION ALL
    SELECT 'deletion begun', jsonb_build_object('certificate', certificate), begun_at, NULL FROM deleted
    UNION ALL
    SELECT 'deleted', jsonb_build_object('certificate', certificate), finished_at, NULL
    FROM deleted
    WHERE finished_at IS NOT NULL
) AS life
ORDER BY happened_at DESC, event_id DESC NULLS FIRST
LIMIT %(limit)s
