-- The deletion of months: what is past its policy, requests and approvals, and how far each deletion has come. See
-- sql/deletions.py.

-- name: lock
-- For the session: one run deletes at a time.
SELECT pg_try_advisory_lock(hashtextextended('treasury deletion', 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('treasury deletion', 7305824))

-- name: lock_requests
-- Until the end of the transaction nobody else requests or decides.
SELECT pg_advisory_xact_lock(hashtextextended('treasury deletion requests', 7305824))

-- name: old_parts
-- Every part that is not deleted, of the months up to a last one: all tables at once.
SELECT table_name, month, part, tier, step, row_count, digest, manifest_sha256, kept, wholly_held
FROM archive_months
WHERE table_name = %(table)s AND month <= %(last_month)s AND tier <> 'deleted'
ORDER BY month, part

-- name: undecided_objects
-- Objects that a copy of this database may have taken for its own: of these months nothing is deleted.
SELECT month, min(object_key) FROM archive_uploads
WHERE table_name = %(table)s AND state IN ('deciding', 'kept') AND month <= %(last_month)s
GROUP BY month

-- name: next_request
SELECT coalesce(max(request_id), 0) + 1, date_trunc('milliseconds', clock_timestamp()) FROM deletion_requests

-- name: add_request
INSERT INTO deletion_requests (request_id, as_of, plan, plan_sha256, approvals, grace_days, actor, account, reason, requested_at)
VALUES (%(request_id)s, %(as_of)s, %(plan)s, %(plan_sha256)s, %(approvals)s, %(grace_days)s, %(actor)s, %(account)s,
        %(reason)s, %(requested_at)s)

-- name: requests
-- The requests, the newest first, each with its decisions in their order and the months that were deleted under it.
SELECT r.request_id, r.as_of, r.plan, r.plan_sha256, r.approvals, r.grace_days, r.actor, r.account, r.reason, r.requested_at,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(d.action, d.actor, d.account, d.reason, d.decided_at) ORDER BY d.decision_id), '[]')
        FROM deletion_decisions d WHERE d.request_id = r.request_id),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(x.table_name, to_char(x.month, 'YYYY-MM'), x.state, x.certificate)
                                  ORDER BY x.number), '[]')
        FROM deletions x WHERE x.request_id = r.request_id)
FROM deletion_requests r
WHERE (%(request_id)s::bigint IS NULL OR r.request_id = %(request_id)s)
ORDER BY r.request_id DESC
LIMIT %(limit)s

-- name: now
SELECT date_trunc('milliseconds', clock_timestamp())

-- name: add_decision
INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)
VALUES (%(request_id)s, %(action)s, %(actor)s, %(account)s, %(reason)s, %(decided_at)s)

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
UPDATE archive_uploads SET state = 'removed' WHERE object_key = %(object_key)s

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

-- name: month_ends
-- How the life of each month that is there goes on: the open holds on all of it or on rows of it, and the newest request to
-- delete it that is open, with its state and the end of its grace period.
SELECT m.table_name, m.month,
       ARRAY(SELECT 'HOLD-' || h.hold_id FROM holds h
             WHERE coalesce(h.table_name, m.table_name) = m.table_name AND m.month BETWEEN h.first_month AND h.last_month
               AND NOT EXISTS (SELECT FROM hold_decisions d WHERE d.hold_id = h.hold_id AND d.action = 'released')
             ORDER BY h.hold_id),
       r.request_id,
       CASE WHEN r.request_id IS NULL THEN NULL WHEN r.due_at IS NULL THEN 'waiting' WHEN now() < r.due_at THEN 'grace'
            ELSE 'approved' END,
       r.due_at
FROM (SELECT DISTINCT table_name, month FROM archive_months
      WHERE tier <> 'deleted' AND (%(table)s::text IS NULL OR table_name = %(table)s)
        AND (%(month)s::date IS NULL OR month = %(month)s)) AS m
LEFT JOIN LATERAL (
    SELECT q.request_id,
           (SELECT d.decided_at + q.grace_days * interval '1 day' FROM deletion_decisions d
            WHERE d.request_id = q.request_id AND d.action = 'approved'
            ORDER BY d.decision_id OFFSET q.approvals - 1 LIMIT 1) AS due_at
    FROM deletion_requests q
    WHERE q.plan @> jsonb_build_array(jsonb_build_object('table', m.table_name, 'month', to_char(m.month, 'YYYY-MM')))
      AND NOT EXISTS (SELECT FROM deletion_decisions d WHERE d.request_id = q.request_id AND d.action <> 'approved')
      AND NOT EXISTS (SELECT FROM deletions x
                      WHERE (x.request_id, x.table_name, x.month) = (q.request_id, m.table_name, m.month))
    ORDER BY q.request_id DESC LIMIT 1
) AS r ON true
ORDER BY m.table_name, m.month
