-- Months near the end of their life: past their policy, held, or asked to be deleted. See sql/old_months.py.

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

-- name: due_months
-- Archived months that are past the policy of their table, which no open request is about: how many, and the oldest.
-- `tables` and `last_months` are of one length.
SELECT count(*), min(m.month), (array_agg(m.table_name ORDER BY m.month, m.table_name))[1]
FROM (SELECT DISTINCT a.table_name, a.month
      FROM archive_months a
      JOIN unnest(%(tables)s::text[], %(last_months)s::date[]) AS policy (table_name, last_month) USING (table_name)
      WHERE a.tier IN ('cold', 'deep') AND a.step = 'idle' AND a.month <= policy.last_month) AS m
WHERE NOT EXISTS (
    SELECT FROM deletion_requests q
    WHERE q.plan @> jsonb_build_array(jsonb_build_object('table', m.table_name, 'month', to_char(m.month, 'YYYY-MM')))
      AND NOT EXISTS (SELECT FROM deletion_decisions d WHERE d.request_id = q.request_id AND d.action <> 'approved')
      AND NOT EXISTS (SELECT FROM deletions x WHERE (x.request_id, x.table_name, x.month) = (q.request_id, m.table_name, m.month)))

-- name: month_ends
-- How the life of each month that is there goes on: the newest request to delete it that is open, with what says how far
-- it is. Whose approvals count is decided where all names are compared.
SELECT m.table_name, m.month,
       r.request_id, r.approvals, r.grace_days, r.requested_at, r.decisions, now()
FROM (SELECT DISTINCT table_name, month FROM archive_months
      WHERE tier <> 'deleted' AND (%(table)s::text IS NULL OR table_name = %(table)s)
        AND (%(month)s::date IS NULL OR month = %(month)s)) AS m
LEFT JOIN LATERAL (
    SELECT q.request_id, q.approvals, q.grace_days, q.requested_at,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(d.action, d.actor, d.account, d.reason, d.decided_at)
                                      ORDER BY d.decision_id), '[]')
            FROM deletion_decisions d WHERE d.request_id = q.request_id) AS decisions
    FROM deletion_requests q
    WHERE q.plan @> jsonb_build_array(jsonb_build_object('table', m.table_name, 'month', to_char(m.month, 'YYYY-MM')))
      AND NOT EXISTS (SELECT FROM deletion_decisions d WHERE d.request_id = q.request_id AND d.action <> 'approved')
      AND NOT EXISTS (SELECT FROM deletions x
                      WHERE (x.request_id, x.table_name, x.month) = (q.request_id, m.table_name, m.month))
    ORDER BY q.request_id DESC LIMIT 1
) AS r ON true
ORDER BY m.table_name, m.month
