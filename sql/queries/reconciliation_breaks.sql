-- Breaks, the decisions about them, and suggested matches.

-- name: list_breaks
SELECT break_id, run_id, supplier, day, period_day, class, issues, currency, difference, variance, escalated, line_no,
       line, own, note, state, detected_at
FROM recon_breaks
WHERE (%(supplier)s::text IS NULL OR supplier = %(supplier)s::text)
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s)) AND (%(class)s::text IS NULL OR class = %(class)s)
  AND (%(first)s::date IS NULL OR day >= %(first)s::date) AND (%(last)s::date IS NULL OR day <= %(last)s::date)
  AND (%(escalated)s::boolean IS NULL OR escalated = %(escalated)s)
  AND (%(after)s::bigint IS NULL OR break_id > %(after)s)
ORDER BY break_id
LIMIT %(limit)s

-- name: list_breaks_by_gravity
-- As list_breaks, the escalated ones first: the page goes on behind the break `after`.
SELECT break_id, run_id, supplier, day, period_day, class, issues, currency, difference, variance, escalated, line_no,
       line, own, note, state, detected_at
FROM recon_breaks
WHERE (%(supplier)s::text IS NULL OR supplier = %(supplier)s::text)
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s)) AND (%(class)s::text IS NULL OR class = %(class)s)
  AND (%(first)s::date IS NULL OR day >= %(first)s::date) AND (%(last)s::date IS NULL OR day <= %(last)s::date)
  AND (%(escalated)s::boolean IS NULL OR escalated = %(escalated)s)
  AND (%(after)s::bigint IS NULL OR (NOT escalated, break_id)
       > (SELECT NOT a.escalated, a.break_id FROM recon_breaks a WHERE a.break_id = %(after)s))
ORDER BY NOT escalated, break_id
LIMIT %(limit)s

-- name: lock_break
SELECT supplier, difference, state, period_day, issues, line, own, day FROM recon_breaks
WHERE break_id = %(break_id)s::bigint FOR UPDATE

-- name: history
-- Proposals to take a decision back, and their rejections, bear the number of that decision.
SELECT break_id, resolution_id, run_id, action, actor, account, decision, reason, period_day, created_at
FROM (
    SELECT break_id, resolution_id, run_id, action, actor, account, decision, reason, period_day, created_at, 0 AS part
    FROM recon_resolutions
    UNION ALL
    SELECT break_id, resolution_id, NULL, 'withdrawal_' || action, actor, account,
           CASE action WHEN 'proposed' THEN 'withdraw' ELSE 'reject' END, reason, NULL, created_at, withdrawal_id
    FROM recon_withdrawals WHERE action <> 'confirmed'
) AS records
WHERE break_id = ANY(%(break_ids)s::bigint[])
ORDER BY break_id, resolution_id, part

-- name: last_proposal
-- Who has proposed what about a break.
SELECT actor, account, decision FROM recon_resolutions
WHERE break_id = %(break_id)s::bigint AND action = 'proposed'
ORDER BY resolution_id DESC
LIMIT 1

-- name: decision_in_force
-- The decision that resolved a break: the newest record that says what state it is in.
SELECT resolution_id, action, decision, run_id FROM recon_resolutions
WHERE break_id = %(break_id)s::bigint AND action NOT IN ('carried', 'noted')
ORDER BY resolution_id DESC
LIMIT 1

-- name: decided_together
-- The breaks that one decision about a match resolved, each with its own record of it.
WITH asked AS (
    SELECT x.resolution_id, x.break_id, x.created_at, x.actor FROM recon_resolutions x
    WHERE x.resolution_id = %(resolution_id)s::bigint
), line AS (
    SELECT c.resolution_id, c.break_id FROM recon_confirmations c JOIN recon_resolutions x USING (resolution_id), asked
    WHERE x.created_at = asked.created_at AND x.action = 'resolved' AND (c.break_id = asked.break_id OR c.own_break_id = asked.break_id)
    LIMIT 1
), members AS (
    SELECT break_id FROM line
    UNION
    SELECT c.own_break_id FROM recon_confirmations c JOIN line ON c.resolution_id = line.resolution_id
    WHERE c.own_break_id IS NOT NULL
    UNION
    SELECT break_id FROM asked
)
SELECT break_id FROM members ORDER BY break_id

-- name: open_withdrawal
-- The proposal to take a decision back that nobody has rejected or confirmed.
SELECT withdrawal_id, actor, account
FROM (SELECT withdrawal_id, action, actor, account FROM recon_withdrawals
      WHERE break_id = %(break_id)s::bigint AND resolution_id = %(resolution_id)s::bigint
      ORDER BY withdrawal_id DESC LIMIT 1) AS newest
WHERE action = 'proposed'

-- name: insert_withdrawal
INSERT INTO recon_withdrawals (break_id, resolution_id, action, actor, account, reason, reopened_by)
VALUES (%(break_id)s::bigint, %(resolution_id)s::bigint, %(action)s, %(actor)s::text, %(account)s::text, %(reason)s::text,
        %(reopened_by)s::bigint)
RETURNING withdrawal_id

-- name: set_state
UPDATE recon_breaks SET state = %(state)s WHERE break_id = %(break_id)s::bigint

-- name: reopen_break
-- A break that was decided and has something left to decide. In a closed period nobody could: then in the next open day.
WITH again AS (
    UPDATE recon_breaks b
    SET state = 'open',
        period_day = (SELECT day::date FROM generate_series(b.period_day, b.period_day + 4000, interval '1 day') AS days(day)
                      WHERE NOT EXISTS (SELECT FROM recon_periods p WHERE p.supplier = b.supplier
                                        AND days.day::date BETWEEN p.first_day AND p.last_day)
                      ORDER BY day LIMIT 1)
    WHERE b.break_id = %(break_id)s::bigint AND b.state = 'resolved'
    RETURNING b.break_id, b.period_day
)
INSERT INTO recon_resolutions (break_id, action, actor, account, decision, reason, period_day)
SELECT break_id, 'reopened', %(actor)s::text, %(account)s::text, %(decision)s::text, %(reason)s::text, period_day FROM again
RETURNING resolution_id

-- name: insert_resolution
INSERT INTO recon_resolutions (break_id, action, actor, account, decision, reason)
VALUES (%(break_id)s::bigint, %(action)s, %(actor)s::text, %(account)s::text, %(decision)s, %(reason)s::text)
RETURNING resolution_id

-- name: known_matches
-- The internal rows in hot and warm that have the identifiers of a break, and the line that the newest run gave to each.
-- Braces are filled in with the two parents.
WITH rows AS (
    SELECT id, created_at, status FROM {hot} WHERE supplier = %(supplier)s::text
      AND created_at >= %(first)s::timestamptz AND created_at < %(last)s::timestamptz
      AND (supplier_transaction_id = %(transaction)s::text OR reference = %(reference)s::text)
    UNION ALL
    SELECT id, created_at, status FROM {warm} WHERE supplier = %(supplier)s::text
      AND created_at >= %(first)s::timestamptz AND created_at < %(last)s::timestamptz
      AND (supplier_transaction_id = %(transaction)s::text OR reference = %(reference)s::text)
)
SELECT rows.id, rows.status, m.run_id, m.line_no, m.method
FROM rows LEFT JOIN LATERAL (
    SELECT m.run_id, m.line_no, m.method FROM recon_matches m
    WHERE m.own_created_at = rows.created_at AND m.own_id = rows.id AND m.state = 'confirmed'
      AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = m.run_id)
    ORDER BY m.run_id DESC LIMIT 1
) AS m ON true
WHERE rows.id IS DISTINCT FROM %(own_id)s::uuid
ORDER BY rows.created_at, rows.id
LIMIT %(limit)s

-- name: suggested_lines
-- Waiting breaks of lines that the newest runs suggest for the internal row of a break.
SELECT DISTINCT m.break_id
FROM recon_breaks o JOIN recon_matches m ON m.own_id = (o.own ->> 'id')::uuid AND m.state = 'suggested'
JOIN recon_runs r ON r.run_id = m.run_id JOIN recon_breaks l ON l.break_id = m.break_id
WHERE o.break_id = %(break_id)s::bigint AND o.line IS NULL AND l.state IN ('open', 'proposed')
  AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id)
ORDER BY m.break_id

-- name: suggested_rows
-- The internal rows that the newest run suggests for the line of a break, each with its own break where it has one, and
-- whether it has a match by now.
WITH newest AS (
    SELECT max(m.run_id) AS run_id FROM recon_matches m JOIN recon_runs r USING (run_id)
    WHERE m.break_id = %(break_id)s::bigint AND m.state = 'suggested'
      AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id)
)
SELECT m.own_id, m.own_created_at, m.method, o.break_id,
       EXISTS (SELECT FROM recon_matches c JOIN recon_runs r USING (run_id)
               WHERE c.own_created_at = m.own_created_at AND c.own_id = m.own_id AND c.state = 'confirmed'
                 AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id))
       OR EXISTS (SELECT FROM recon_confirmations c JOIN recon_resolutions x USING (resolution_id)
                  WHERE c.own_id = m.own_id AND x.action IN ('resolved', 'closed')
                    AND NOT EXISTS (SELECT FROM recon_resolutions later
                                    WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)) AS taken
FROM newest JOIN recon_matches m USING (run_id) JOIN recon_breaks l ON l.break_id = m.break_id
LEFT JOIN LATERAL (
    SELECT break_id FROM recon_breaks b
    WHERE b.supplier = l.supplier AND b.day = (m.own_created_at AT TIME ZONE %(zone)s::text)::date
      AND b.line IS NULL AND b.own ->> 'id' = m.own_id::text AND b.state <> 'closed'
    ORDER BY break_id DESC LIMIT 1
) AS o ON true
WHERE m.break_id = %(break_id)s::bigint AND m.state = 'suggested'
ORDER BY m.own_id

-- name: proposed_rows
-- The match that is proposed for a break of either side, as it was proposed.
SELECT c.break_id, c.own_id, c.own_created_at, c.own_break_id, c.method
FROM recon_confirmations c JOIN recon_resolutions x USING (resolution_id)
WHERE x.action = 'proposed'
  AND NOT EXISTS (SELECT FROM recon_resolutions later
                  WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
  AND c.break_id = coalesce((SELECT break_id FROM recon_confirmations WHERE break_id = %(break_id)s::bigint LIMIT 1),
                            (SELECT p.break_id FROM recon_confirmations p WHERE p.own_break_id = %(break_id)s::bigint
                             ORDER BY p.resolution_id DESC LIMIT 1))
ORDER BY c.own_id

-- name: insert_confirmation
INSERT INTO recon_confirmations (resolution_id, break_id, own_id, own_created_at, own_break_id, method)
VALUES (%(resolution_id)s::bigint, %(break_id)s::bigint, %(own_id)s, %(own_created_at)s, %(own_break_id)s, %(method)s)
