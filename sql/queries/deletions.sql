-- How far each deletion of a month has come: its parts, its objects, its certificate. See sql/deletions.py.

-- name: lock
-- For the session: one run deletes at a time.
SELECT pg_try_advisory_lock(hashtextextended('treasury deletion', 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('treasury deletion', 7305824))

-- name: next_number
SELECT coalesce(max(number), 0) + 1 FROM deletions

-- name: month_parts
-- The parts of a month that are not deleted, locked until the end of the transaction.
SELECT part, tier, step, attempt, row_count, sums, digest, object_key, object_bytes, object_sha256, manifest_key,
       manifest_sha256, tree, kept
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND tier <> 'deleted'
ORDER BY part
FOR UPDATE

-- name: newest_part
SELECT max(part), max(attempt) FROM archive_months WHERE table_name = %(table)s AND month = %(month)s

-- name: leftovers
-- Objects of a month that interrupted attempts left behind, and that are not removed.
SELECT object_key, part, state FROM archive_uploads
WHERE table_name = %(table)s AND month = %(month)s AND state NOT IN ('current', 'removed', 'former')
ORDER BY object_key

-- name: unused_copies
-- Copies of held rows that interrupted tries left, and whether their rows are held for sure: no hold on rows of the month
-- was released since.
SELECT u.object_key, NOT EXISTS (
    SELECT FROM holds h JOIN hold_decisions d USING (hold_id)
    WHERE d.action = 'released' AND d.decided_at >= u.created_at AND h.subject IS NOT NULL
      AND coalesce(h.table_name, u.table_name) = u.table_name AND u.month BETWEEN h.first_month AND h.last_month)
FROM archive_uploads u
WHERE u.table_name = %(table)s AND u.month = %(month)s AND u.state = 'keeping'
ORDER BY u.object_key

-- name: uploads_of_month
SELECT object_key FROM archive_uploads WHERE table_name = %(table)s AND month = %(month)s AND state <> 'removed'
UNION
SELECT object_key FROM former_objects WHERE table_name = %(table)s AND month = %(month)s

-- name: removed_uploads
SELECT object_key FROM archive_uploads WHERE table_name = %(table)s AND month = %(month)s AND state = 'removed'

-- name: add_deletion
INSERT INTO deletions (number, certificate, request_id, table_name, month, order_content, order_key, begun_at,
                       event_incarnation, event_number)
VALUES (%(number)s, %(certificate)s, %(request_id)s, %(table)s, %(month)s, %(order_content)s, %(order_key)s, %(begun_at)s,
        %(event_incarnation)s, %(event_number)s)

-- name: add_object
INSERT INTO deletion_objects (number, object_key, part, kind, size_bytes, sha256)
VALUES (%(number)s, %(object_key)s, %(part)s, %(kind)s, %(size_bytes)s, %(sha256)s)

-- name: begin_parts
UPDATE archive_months
SET tier = 'deleted', step = 'deleting', certificate = %(certificate)s, deleted_at = %(begun_at)s
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[]) AND tier IN ('cold', 'deep')

-- name: add_kept_part
INSERT INTO archive_months (table_name, month, part, tier, attempt, row_count, sums, digest, postgres_bytes, object_key,
                            object_bytes, object_sha256, manifest_key, manifest_sha256, verified_at, cold_at, tidied_at,
                            keys_tell_month, columns, tree, layout, lookup, kept)
SELECT table_name, month, %(part)s, 'cold', %(attempt)s, %(row_count)s, %(sums)s, %(digest)s, 0, %(object_key)s,
       %(object_bytes)s, %(object_sha256)s, %(manifest_key)s, %(manifest_sha256)s, %(begun_at)s, %(begun_at)s, %(begun_at)s,
       keys_tell_month, columns, %(tree)s, layout, %(lookup)s, %(kept)s
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND part = %(former)s

-- name: mark_wholly_held
UPDATE archive_months SET wholly_held = %(holds)s
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND tier IN ('cold', 'deep')

-- name: intend_kept
INSERT INTO archive_uploads (object_key, table_name, month, part, attempt, state, installation_id, incarnation)
VALUES (%(object_key)s, %(table)s, %(month)s, %(former)s, %(attempt)s, 'keeping', %(installation_id)s, %(incarnation)s)

-- name: adopt_kept
UPDATE archive_uploads SET state = 'current', part = %(part)s
WHERE table_name = %(table)s AND month = %(month)s AND object_key = ANY(%(keys)s) AND state = 'keeping'

-- name: unfinished
-- The deletions that have begun and not ended, the oldest first.
SELECT number FROM deletions WHERE state <> 'done' ORDER BY number

-- name: deletion
SELECT number, certificate, request_id, table_name, month, state, order_content, order_key, begun_at, event_incarnation,
       event_number, certificate_content, certificate_key, page_key, finished_at, last_error
FROM deletions
WHERE number = %(number)s

-- name: find_certificate
SELECT number FROM deletions WHERE certificate = %(certificate)s

-- name: restore_certificate
-- Of a deletion that another database finished.
UPDATE deletions
SET state = 'done', certificate_content = %(content)s, certificate_key = %(certificate_key)s, page_key = %(page_key)s,
    finished_at = %(finished_at)s
WHERE certificate = %(certificate)s AND state <> 'done'

-- name: end_parts
UPDATE archive_months SET step = 'idle' WHERE certificate = %(certificate)s AND step = 'deleting'

-- name: deletions
SELECT number FROM deletions ORDER BY number DESC LIMIT %(limit)s

-- name: objects
SELECT object_key, part, kind, size_bytes, sha256, versions, removed_at, proved_at
FROM deletion_objects WHERE number = %(number)s ORDER BY object_key

-- name: note_versions
-- What the store had of an object, each version once: the ones that an earlier try found stay.
UPDATE deletion_objects SET versions = %(versions)s WHERE number = %(number)s AND object_key = %(object_key)s

-- name: mark_removed
UPDATE deletion_objects
SET removed_at = coalesce(removed_at, date_trunc('milliseconds', clock_timestamp())),
    proved_at = date_trunc('milliseconds', clock_timestamp())
WHERE number = %(number)s AND object_key = %(object_key)s

-- name: mark_upload_removed
-- How many uploads have the key, and how many PostgreSQL marked: an object of before the uploads were recorded has none.
WITH marked AS (
    UPDATE archive_uploads SET state = 'removed' WHERE object_key = %(object_key)s
    RETURNING object_key
)
SELECT (SELECT count(*) FROM archive_uploads WHERE object_key = %(object_key)s), (SELECT count(*) FROM marked)

-- name: event_index
-- The place in the log of an event, NULL before it has one.
SELECT entry_index FROM log_events
WHERE installation_id = %(installation_id)s AND incarnation = %(incarnation)s AND number = %(number)s AND replaced_at IS NULL

-- name: certify
UPDATE deletions
SET state = 'certified', certificate_content = %(content)s, certificate_key = %(certificate_key)s, page_key = %(page_key)s,
    last_error = NULL
WHERE number = %(number)s AND state = 'begun'

-- name: finish
UPDATE deletions SET state = 'done', finished_at = date_trunc('milliseconds', clock_timestamp()), last_error = NULL
WHERE number = %(number)s AND state = 'certified'

-- name: finish_parts
UPDATE archive_months SET step = 'idle'
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[]) AND step = 'deleting'

-- name: note_error
UPDATE deletions SET last_error = %(error)s WHERE number = %(number)s AND state <> 'done'

-- name: manifests
-- The SHA-256 of the manifests of parts.
SELECT part, manifest_sha256 FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[])
ORDER BY part
