-- Requests to delete months, and the decisions about them. See sql/deletion_requests.py.

-- name: lock_requests
-- Until the end of the transaction nobody else requests or decides.
SELECT pg_advisory_xact_lock(hashtextextended('treasury deletion requests', 7305824))

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

-- name: add_decision
INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)
VALUES (%(request_id)s, %(action)s, %(actor)s, %(account)s, %(reason)s, %(decided_at)s)
