-- Legal holds and their release. See sql/holds.py.

-- name: lock
-- Until the end of the transaction no hold is placed or released, and no deletion begins.
SELECT pg_advisory_xact_lock(hashtextextended('treasury holds', 7305824))

-- name: next_number
-- To be asked under the lock; the time is PostgreSQL's, in whole milliseconds.
SELECT coalesce(max(hold_id), 0) + 1, date_trunc('milliseconds', clock_timestamp()) FROM holds

-- name: add_hold
INSERT INTO holds (hold_id, matter, table_name, first_month, last_month, subject, subject_value, reason, actor, account,
                   placed_at, review_on, lacks, object_key, object_bytes, object_sha256)
VALUES (%(hold_id)s, %(matter)s, %(table)s, %(first_month)s, %(last_month)s, %(subject)s, %(value)s, %(reason)s, %(actor)s,
        %(account)s, %(placed_at)s, %(review_on)s, %(lacks)s, %(object_key)s, %(object_bytes)s, %(object_sha256)s)

-- name: holds
-- Every hold, the oldest first, with the decision that counts: the last one. NULL where nobody has decided. Behind it the
-- proposal before it.
SELECT h.hold_id, h.matter, h.table_name, h.first_month, h.last_month, h.subject, h.subject_value, h.reason, h.actor, h.account,
       h.placed_at, h.review_on, h.lacks, d.action, d.actor, d.account, d.reason, d.decided_at, p.actor, p.account
FROM holds h
LEFT JOIN LATERAL (
    SELECT * FROM hold_decisions WHERE hold_id = h.hold_id ORDER BY decision_id DESC LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT * FROM hold_decisions
    WHERE hold_id = h.hold_id AND action = 'proposed' AND decision_id < d.decision_id
    ORDER BY decision_id DESC LIMIT 1
) AS p ON true
WHERE (%(hold_id)s::bigint IS NULL OR h.hold_id = %(hold_id)s)
ORDER BY h.hold_id

-- name: decisions
SELECT action, actor, account, reason, decided_at FROM hold_decisions WHERE hold_id = %(hold_id)s ORDER BY decision_id

-- name: add_decision
INSERT INTO hold_decisions (hold_id, action, actor, account, reason, decided_at, object_key, object_bytes, object_sha256)
VALUES (%(hold_id)s, %(action)s, %(actor)s, %(account)s, %(reason)s, %(decided_at)s, %(object_key)s, %(object_bytes)s,
        %(object_sha256)s)

-- name: known_months
-- The first and the last month of each table in any tier, and whether these very months are there.
SELECT table_name, min(month), max(month), bool_or(month = %(first_month)s), bool_or(month = %(last_month)s)
FROM archive_months
WHERE (%(table)s::text IS NULL OR table_name = %(table)s)
GROUP BY table_name
ORDER BY table_name

-- name: deleted_months
-- Months of a span of which nothing is left, with the certificate's number.
SELECT table_name, month, max(certificate)
FROM archive_months
WHERE (%(table)s::text IS NULL OR table_name = %(table)s) AND month BETWEEN %(first_month)s AND %(last_month)s
GROUP BY table_name, month
HAVING bool_and(tier = 'deleted')
ORDER BY month, table_name

-- name: deletions_in
-- The deletions of months of a span that have begun, the oldest first, each with its order.
SELECT table_name, month, certificate, order_content
FROM deletions
WHERE (%(table)s::text IS NULL OR table_name = %(table)s) AND month BETWEEN %(first_month)s AND %(last_month)s
ORDER BY number
