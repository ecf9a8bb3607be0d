-- The catalogue of months (archive_months) and what surrounds a move. A month may have several parts, of which at most
-- one is hot or warm: it is the one that moves.

-- name: register_months
-- Partitions that exist without a catalogue row (made before this project came) enter it as what they are.
INSERT INTO archive_months (table_name, month, tier)
SELECT %(table)s, unnest(%(months)s::date[]), %(tier)s
ON CONFLICT DO NOTHING

-- name: count_registered
-- Of some months how many have a catalogue row.
SELECT count(DISTINCT month) FROM archive_months WHERE table_name = %(table)s AND month = ANY(%(months)s::date[])

-- name: months
-- Every month of a table that is known, oldest first, and its parts in their order.
SELECT month, part, tier, step, attempt, row_count, sums, digest, postgres_bytes, object_key, object_bytes, object_sha256,
       lookup IS NOT NULL AS has_lookup, manifest_key, last_error, warm_at, sealed_at, verified_at, cold_at, tidied_at, keys_tell_month,
       columns, certificate, deleted_at, kept, deep_at, storage_class, work_until
FROM archive_months
WHERE table_name = %(table)s
ORDER BY month, part

-- name: tier_and_step
-- Of a month's newest part.
SELECT tier, step, attempt
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s
ORDER BY part DESC
LIMIT 1

-- name: claim
UPDATE archive_months
SET step = 'claimed', attempt = attempt + 1, last_error = NULL
WHERE table_name = %(table)s AND month = %(month)s AND tier = 'warm'
RETURNING attempt, part

-- name: mark_sealed
UPDATE archive_months
SET step = 'sealed', sealed_at = coalesce(sealed_at, now())
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s

-- name: mark_unsealed
UPDATE archive_months
SET step = 'idle', sealed_at = NULL
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s AND tier = 'warm'

-- name: mark_uploaded
UPDATE archive_months
SET step = 'uploaded', object_key = %(object_key)s, object_bytes = %(object_bytes)s, object_sha256 = %(object_sha256)s
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s

-- name: mark_verified
UPDATE archive_months
SET step = 'verified', verified_at = now(), row_count = %(row_count)s, sums = %(sums)s, digest = %(digest)s,
    manifest_key = %(manifest_key)s, manifest_sha256 = %(manifest_sha256)s, postgres_bytes = %(postgres_bytes)s,
    keys_tell_month = %(keys_tell_month)s, columns = %(columns)s, tree = %(tree)s, layout = %(layout)s,
    lookup = %(lookup)s
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s

-- name: mark_cold
UPDATE archive_months
SET tier = 'cold', step = 'idle', cold_at = now(), work_until = NULL
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s AND step = 'verified'

-- name: mark_failed
UPDATE archive_months
SET last_error = %(error)s
WHERE table_name = %(table)s AND month = %(month)s AND tier IN ('hot', 'warm')

-- name: mark_tidied
UPDATE archive_months
SET tidied_at = now()
WHERE table_name = %(table)s AND month = %(month)s
  AND part = (SELECT max(part) FROM archive_months WHERE table_name = %(table)s AND month = %(month)s)

-- name: add_event
INSERT INTO archive_events (table_name, month, event, detail)
VALUES (%(table)s, %(month)s, %(event)s, %(detail)s)

-- name: was_warmed_by
-- Whether a run, named by a text of its own, is the one that moved a month to warm.
SELECT EXISTS (
    SELECT FROM archive_events
    WHERE (table_name, month, event) = (%(table)s, %(month)s, 'warmed') AND detail ->> 'run' = %(run)s)

-- name: intend_upload
INSERT INTO archive_uploads (object_key, table_name, month, part, attempt, installation_id, incarnation)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, %(attempt)s, %(installation_id)s, %(incarnation)s)

-- name: attempt_uploads
SELECT object_key FROM archive_uploads
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s
ORDER BY object_key

-- name: decide_uploads
-- Recorded before the flip's token is in the archive: a copy that knows the token knows that the flip may have happened.
UPDATE archive_uploads
SET state = 'deciding'
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s

-- name: reopen_uploads
-- After a flip that was rolled back. The month's tier says that it was, whoever calls this.
UPDATE archive_uploads AS u
SET state = 'intended'
FROM archive_months AS m
WHERE (u.table_name, u.month, u.part, u.attempt, u.state) = (%(table)s, %(month)s, %(part)s, %(attempt)s, 'deciding')
  AND (m.table_name, m.month, m.part) = (u.table_name, u.month, u.part) AND m.tier = 'warm'

-- name: adopt_uploads
UPDATE archive_uploads
SET state = 'current'
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND attempt = %(attempt)s

-- name: orphaned_uploads
-- Objects that were intended, but whose month went cold with others: left behind by a run that did not end. Those of
-- other installations and of earlier incarnations are not here: another database may have gone on with them.
SELECT u.object_key, u.month, u.state
FROM archive_uploads u JOIN archive_months m USING (table_name, month, part)
WHERE u.table_name = %(table)s AND u.state IN ('intended', 'deciding') AND m.tier NOT IN ('hot', 'warm')
  AND (u.installation_id, u.incarnation) = (SELECT installation_id, incarnation FROM installation)
ORDER BY u.month, u.object_key

-- name: mark_upload
UPDATE archive_uploads SET state = %(state)s WHERE object_key = %(object_key)s

-- name: unowned_indexes
-- Indexes of a partition that belong to no index of its parent: what is left of a former parent's. One that a constraint
-- needs stays: it is a rule of the table's owner, and PostgreSQL drops it with its constraint only.
SELECT c.relname::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %(relation)s AND NOT i.indisprimary
  AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
ORDER BY c.relname

-- name: seal_is_whole
-- Whether the partition's seal is whole: both triggers there, on every write and every row (tgtype: BEFORE each row of an
-- INSERT, DELETE or UPDATE; BEFORE TRUNCATE), calling the right function, enabled whatever the session's replication role.
SELECT count(*) = 2
FROM pg_trigger
WHERE tgrelid = %(relation)s AND tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
  AND tgfoid = 'treasury_refuse_sealed'::regproc
  AND (tgname, tgtype) IN (('treasury_sealed_rows', 31), ('treasury_sealed_truncate', 34))

-- name: open_part
-- A further part of a month whose parts are all archived; nothing for any other month. Attempts are counted on: no two
-- parts of a month have one in common.
INSERT INTO archive_months (table_name, month, part, tier, attempt)
SELECT table_name, month, max(part) + 1, %(tier)s, max(attempt)
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s
GROUP BY table_name, month
HAVING bool_and(tier IN ('cold', 'deep'))
RETURNING part

-- name: try_month_lock
SELECT pg_try_advisory_lock(hashtextextended(%(table)s || ' ' || %(month)s, 7305824))

-- name: unlock_month
SELECT pg_advisory_unlock(hashtextextended(%(table)s || ' ' || %(month)s, 7305824))

-- name: map_version
-- A text that differs from that of another moment when anything differs which the places of rows follow from: the
-- catalogue of months, the numbers of columns, the parents and their columns, their partitions with bounds and CHECKs, and
-- what this login may read. A row of a table has another xmin or another place after each change.
SELECT md5(concat_ws('/',
    (SELECT string_agg(m.xmin::text || m.ctid::text, ',' ORDER BY m.ctid) FROM archive_months m),
    (SELECT string_agg(a.xmin::text || a.ctid::text, ',' ORDER BY a.ctid) FROM archive_columns a),
    (SELECT string_agg(c.oid::text || ':' || c.xmin::text, ',' ORDER BY c.oid)
     FROM pg_class c WHERE c.oid = ANY(%(parents)s::oid[])),
    (SELECT string_agg(a.attrelid::text || ':' || a.attnum || ':' || a.xmin::text, ',' ORDER BY a.attrelid, a.attnum)
     FROM pg_attribute a WHERE a.attrelid = ANY(%(parents)s::oid[]) AND a.attnum > 0),
    (SELECT string_agg(k.oid::text || ':' || k.xmin::text, ',' ORDER BY k.oid)
     FROM pg_constraint k
     WHERE k.conrelid = ANY(%(parents)s::oid[])
        OR k.contype = 'c' AND k.conrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY(%(parents)s::oid[]))),
    (SELECT string_agg(concat_ws(':', c.oid, c.xmin, i.inhparent, i.inhdetachpending,
                                 has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE')),
                       ',' ORDER BY c.oid)
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = ANY(%(parents)s::oid[])),
    current_user))
