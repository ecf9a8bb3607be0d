-- Copies of archived months in a schema of their own. See sql/restored.py.

-- name: schema_comment
-- The comment on a schema; no record where there is no such schema, NULL where it has none.
SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %(schema)s

-- name: add
INSERT INTO restored_months (table_name, month, part, relation_oid, schema_name, relation_name, row_count, actor, account, reason,
                             purpose)
VALUES (%(table)s, %(month)s, %(part)s, %(oid)s, %(schema)s, %(name)s, %(rows)s, %(actor)s, %(account)s, %(reason)s,
        %(purpose)s)
RETURNING restore_id

-- name: ready
UPDATE restored_months
SET state = 'ready', relation_name = %(name)s, ready_at = now(), expires_at = now() + %(ttl)s::interval
WHERE restore_id = %(restore_id)s AND state = 'loading'
RETURNING expires_at

-- name: extend
UPDATE restored_months
SET expires_at = greatest(expires_at, now() + %(ttl)s::interval)
WHERE restore_id = %(restore_id)s AND state = 'ready'
RETURNING expires_at

-- name: dropped
UPDATE restored_months SET state = 'dropped', dropped_at = now() WHERE restore_id = %(restore_id)s AND state <> 'dropped'

-- name: copies
-- Copies that are not dropped, the oldest month first: those of one month, or all.
SELECT restore_id, table_name, month, part, state, purpose, relation_oid::bigint, schema_name, relation_name, row_count, actor, account,
       reason, begun_at, ready_at, expires_at, coalesce(expires_at < now(), false) AS has_expired,
       EXISTS (SELECT FROM pg_class c WHERE c.oid = relation_oid) AS is_there
FROM restored_months
WHERE state <> 'dropped'
  AND (%(table)s::text IS NULL OR table_name = %(table)s)
  AND (%(month)s::date IS NULL OR month = %(month)s)
  AND (%(part)s::smallint IS NULL OR part = %(part)s)
ORDER BY table_name, restored_months.month, part, restore_id

-- name: try_lock
-- For the session: one run at a time makes or drops the copies of a month.
SELECT pg_try_advisory_lock(hashtextextended(format('treasury restore %%s %%s', %(table)s::text, %(month)s::text), 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended(format('treasury restore %%s %%s', %(table)s::text, %(month)s::text), 7305824))
