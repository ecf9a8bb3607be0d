-- Archived months that go back to warm, and their former objects. See sql/returns.py.

-- name: constraints
-- The constraints of a parent that a partition needs and that LIKE does not copy: keys first, foreign keys last.
SELECT conname::text, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE conrelid = %(parent)s AND contype IN ('p', 'u', 'x', 'f')
ORDER BY contype = 'f', contype <> 'p', conname

-- name: indexes
-- The indexes of a parent that belong to no constraint: whether each is unique, and what follows ON <table>.
SELECT i.indisunique, substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$')
FROM pg_index i
WHERE i.indrelid = %(parent)s AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
ORDER BY i.indexrelid

-- name: defaults
-- The defaults of a parent's columns that are not generated.
SELECT a.attname::text, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
WHERE d.adrelid = %(parent)s AND a.attgenerated = ''

-- name: is_plain_table
-- A row while schema and name lead to the OID, and it is a table of its own that nobody has put a trigger on.
SELECT 1
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.oid, n.nspname, c.relname) = (%(oid)s, %(schema)s, %(name)s) AND c.relkind = 'r' AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid OR i.inhparent = c.oid)
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid)

-- name: lock_parts
-- The parts of a month, locked until the end of the transaction.
SELECT part, tier, step, manifest_sha256
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY part
FOR UPDATE

-- name: newest_attempt
-- At a month, also those that a deletion made to keep held rows: no two attempts of a month may be taken for one.
SELECT greatest(
    (SELECT max(attempt) FROM archive_months WHERE table_name = %(table)s AND month = %(month)s),
    (SELECT max(attempt) FROM archive_uploads WHERE table_name = %(table)s AND month = %(month)s))

-- name: add_return
INSERT INTO month_returns (table_name, month, row_count, actor, account, reason, returned_at, work_until, record_key)
VALUES (%(table)s, %(month)s, %(rows)s, %(actor)s, %(account)s, %(reason)s, %(returned_at)s, %(until)s, %(record_key)s)
RETURNING return_id

-- name: has_return
SELECT EXISTS (SELECT FROM month_returns WHERE record_key = %(record_key)s)

-- name: add_former
-- Every object that some parts of a month have now.
INSERT INTO former_objects (object_key, return_id, table_name, month, part, place, kind, size_bytes, sha256)
SELECT object_key, %(return_id)s, table_name, month, part, place, kind, size_bytes, sha256
FROM archive_objects
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[])

-- name: add_former_object
-- One that the log names: how many are new, and how many PostgreSQL stored.
WITH stored AS (
    INSERT INTO former_objects (object_key, return_id, table_name, month, part, place, kind, size_bytes, sha256)
    VALUES (%(object_key)s, %(return_id)s, %(table)s, %(month)s, %(part)s, %(place)s, %(kind)s, %(size_bytes)s, %(sha256)s)
    ON CONFLICT DO NOTHING
    RETURNING object_key
)
SELECT 1 - (SELECT count(*) FROM former_objects WHERE object_key = %(object_key)s), (SELECT count(*) FROM stored)

-- name: set_former_uploads
UPDATE archive_uploads AS u
SET state = 'former'
FROM former_objects AS f
WHERE f.object_key = u.object_key AND f.return_id = %(return_id)s

-- name: move_uploads
-- What was uploaded for parts that are one part now.
UPDATE archive_uploads SET part = %(part)s
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(others)s::smallint[])

-- name: forget_verified
DELETE FROM archive_verified v USING former_objects f
WHERE f.object_key = v.object_key AND f.return_id = %(return_id)s

-- name: remove_parts
DELETE FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(others)s::smallint[]) AND tier IN ('cold', 'deep')

-- name: set_warm
UPDATE archive_months
SET tier = 'warm', step = 'idle', attempt = %(attempt)s, warm_at = now(), tidied_at = now(), work_until = %(until)s,
    row_count = NULL, sums = NULL, digest = NULL, postgres_bytes = NULL, object_key = NULL, object_bytes = NULL,
    object_sha256 = NULL, manifest_key = NULL, manifest_sha256 = NULL, columns = NULL, tree = NULL, layout = NULL, lookup = NULL,
    kept = NULL, wholly_held = NULL, keys_tell_month = false, last_error = NULL, sealed_at = NULL, verified_at = NULL, cold_at = NULL,
    deep_at = NULL, storage_class = NULL, deep_etag = NULL
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND tier IN ('cold', 'deep') AND step = 'idle'

-- name: add_warm
-- A part of its own, where a deleted one is behind the archived ones: the newest part is the one in PostgreSQL.
INSERT INTO archive_months (table_name, month, part, tier, attempt, warm_at, tidied_at, work_until)
VALUES (%(table)s, %(month)s, %(part)s, 'warm', %(attempt)s, now(), now(), %(until)s)

-- name: extend
UPDATE archive_months SET work_until = greatest(work_until, %(until)s)
WHERE table_name = %(table)s AND month = %(month)s AND tier = 'warm' AND work_until IS NOT NULL
RETURNING work_until, part

-- name: attached
-- The table that was loaded is a partition now, and no copy.
DELETE FROM restored_months WHERE restore_id = %(restore_id)s AND state = 'loading' AND purpose = 'return'

-- name: has_former
SELECT EXISTS (SELECT FROM former_objects WHERE table_name = %(table)s AND month = %(month)s AND certificate IS NULL)

-- name: begin_removal
-- From here on no lock and no hold follows the former objects of a month: a deletion removes them.
UPDATE former_objects SET certificate = %(certificate)s
WHERE table_name = %(table)s AND month = %(month)s AND certificate IS NULL

-- name: in_work
-- The months that went back to warm and are not archived again yet.
SELECT table_name, month, work_until FROM archive_months
WHERE tier = 'warm' AND work_until IS NOT NULL AND (%(table)s::text IS NULL OR table_name = %(table)s)
ORDER BY table_name, month
