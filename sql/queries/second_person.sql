-- What one person has proposed and a second one must confirm.

-- name: decisions
-- Decisions about breaks, the oldest first. A match of several breaks is there once, under the break of its line.
SELECT b.break_id, b.supplier, b.day, b.class, b.currency, b.difference, b.own ->> 'amount' AS row_amount,
       p.decision, p.actor, p.account, p.reason, p.created_at,
       ARRAY(SELECT c.own_break_id FROM recon_confirmations c
             WHERE c.resolution_id = p.resolution_id AND c.own_break_id <> b.break_id ORDER BY 1) AS together
FROM recon_breaks b
CROSS JOIN LATERAL (
    SELECT resolution_id, decision, actor, account, reason, created_at FROM recon_resolutions
    WHERE break_id = b.break_id AND action = 'proposed' ORDER BY resolution_id DESC LIMIT 1
) AS p
WHERE b.state = 'proposed'
  AND NOT EXISTS (SELECT FROM recon_confirmations c JOIN recon_resolutions x USING (resolution_id)
                  WHERE c.own_break_id = b.break_id AND c.break_id <> b.break_id
                    AND x.action = 'proposed' AND x.created_at = p.created_at)
ORDER BY p.created_at, b.break_id
LIMIT %(limit)s

-- name: withdrawals
-- Decisions that somebody wants to take back, while they count.
SELECT b.break_id, b.supplier, b.day, b.class, b.currency, b.difference, b.own ->> 'amount' AS row_amount,
       x.decision, w.actor, w.account, w.reason, w.created_at, ARRAY[]::bigint[] AS together
FROM (
    SELECT DISTINCT ON (break_id, resolution_id) break_id, resolution_id, action, actor, account, reason, created_at
    FROM recon_withdrawals ORDER BY break_id, resolution_id, withdrawal_id DESC
) AS w
JOIN recon_breaks b USING (break_id)
JOIN LATERAL (
    SELECT resolution_id, decision FROM recon_resolutions
    WHERE break_id = b.break_id AND action NOT IN ('carried', 'noted') ORDER BY resolution_id DESC LIMIT 1
) AS x ON x.resolution_id = w.resolution_id
WHERE w.action = 'proposed' AND b.state = 'resolved'
ORDER BY w.created_at, b.break_id
LIMIT %(limit)s

-- name: closings
-- Periods that are proposed for closing, with the breaks in them that wait, and the money of those by currency.
SELECT n.proposal_id, n.supplier, n.first_day, n.last_day, n.carry, n.actor, n.account, n.reason, n.created_at,
       w.breaks, w.money
FROM (
    SELECT DISTINCT ON (supplier, first_day, last_day) * FROM recon_period_proposals
    ORDER BY supplier, first_day, last_day, proposal_id DESC
) AS n
CROSS JOIN LATERAL (
    SELECT coalesce(sum(breaks), 0)::integer AS breaks, coalesce(jsonb_object_agg(currency, total), '{}') AS money
    FROM (SELECT currency, count(*) AS breaks, sum(difference)::text AS total FROM recon_breaks
          WHERE supplier = n.supplier AND period_day BETWEEN n.first_day AND n.last_day AND state IN ('open', 'proposed')
          GROUP BY currency) AS sums
) AS w
WHERE n.action = 'proposed'
  AND NOT EXISTS (SELECT FROM recon_periods p WHERE p.supplier = n.supplier
                  AND p.first_day <= n.last_day AND p.last_day >= n.first_day)
ORDER BY n.created_at
LIMIT %(limit)s

-- name: absences
-- Days for which somebody declares that the supplier sends no statement.
SELECT supplier, day, actor, account, reason, created_at
FROM (SELECT DISTINCT ON (supplier, day) * FROM statement_absences ORDER BY supplier, day, absence_id DESC) AS newest
WHERE action = 'proposed'
ORDER BY created_at
LIMIT %(limit)s
