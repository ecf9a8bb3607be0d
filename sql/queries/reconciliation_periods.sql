-- Periods: proposals, closing, and the breaks that are carried over.

-- name: closed_period
-- The closed period that holds a day, if one does.
SELECT period_id, first_day, last_day
FROM recon_periods
WHERE supplier = %(supplier)s::text AND %(day)s::date BETWEEN first_day AND last_day
LIMIT 1

-- name: days_without_run
-- Days whose newest run says nothing of the whole day: there is none, or it was made before the day was over, or with another
-- statement than the one that counts now, or, unless such a statement will do (`without_lines`), with one that has no lines
-- and may be a file that was cut off, or, unless that will do (`declared`), with none but people's word that there is none,
-- or, unless that will do (`early`), with a statement that was taken before the day was over.
SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS days(day)
WHERE (SELECT r.started_at >= (days.day::date + 1)::timestamp AT TIME ZONE %(zone)s::text
              AND (r.line_count > 0 OR %(without_lines)s)
              AND (%(declared)s OR NOT EXISTS (SELECT FROM statement_absences a JOIN statement_files f USING (file_id)
                                               WHERE f.object_key = r.figures -> 'statement' ->> 'key'))
              AND coalesce((SELECT f.object_key = r.figures -> 'statement' ->> 'key'
                                   AND (%(early)s OR f.taken_at >= (f.day + 1)::timestamp AT TIME ZONE %(zone)s::text)
                            FROM statement_files f
                            WHERE (f.supplier, f.day, f.state) = (r.supplier, r.day, 'taken')
                            ORDER BY f.file_id DESC LIMIT 1), true)
       FROM recon_runs r WHERE r.supplier = %(supplier)s::text AND r.day = days.day::date
       ORDER BY run_id DESC LIMIT 1) IS NOT TRUE
ORDER BY day

-- name: overlapping_periods
SELECT period_id, first_day, last_day FROM recon_periods
WHERE supplier = %(supplier)s::text AND first_day <= %(last)s::date AND last_day >= %(first)s::date
ORDER BY first_day

-- name: waiting_in_period
SELECT break_id FROM recon_breaks
WHERE supplier = %(supplier)s::text AND period_day BETWEEN %(first)s::date AND %(last)s::date AND state IN ('open', 'proposed')
ORDER BY break_id
FOR UPDATE

-- name: next_open_day
-- The first day after a period that is in no closed one.
SELECT day::date FROM generate_series(%(last)s::date + 1, %(last)s::date + 400, interval '1 day') AS days(day)
WHERE NOT EXISTS (SELECT FROM recon_periods p WHERE p.supplier = %(supplier)s::text
                  AND days.day::date BETWEEN p.first_day AND p.last_day)
ORDER BY day
LIMIT 1

-- name: carry_breaks
WITH moved AS (
    UPDATE recon_breaks SET period_day = %(to)s::date WHERE break_id = ANY(%(breaks)s::bigint[])
    RETURNING break_id, period_day
)
INSERT INTO recon_resolutions (break_id, action, actor, account, decision, reason, period_day)
SELECT break_id, 'carried', %(actor)s::text, %(account)s::text, 'carried_on', %(reason)s::text, period_day
FROM moved ORDER BY break_id
RETURNING resolution_id

-- name: insert_period
INSERT INTO recon_periods (supplier, first_day, last_day, actor, account, reason, proposal_id, own_rows, own_sums,
                           own_digest)
VALUES (%(supplier)s::text, %(first)s::date, %(last)s::date, %(actor)s::text, %(account)s::text, %(reason)s::text,
        %(proposal_id)s::bigint, %(own_rows)s::bigint, %(own_sums)s, %(own_digest)s)
RETURNING period_id

-- name: open_proposal
-- The proposal to close these very days that nobody has taken back.
SELECT proposal_id, carry, actor, account
FROM (
    SELECT proposal_id, action, carry, actor, account FROM recon_period_proposals
    WHERE supplier = %(supplier)s::text AND first_day = %(first)s::date AND last_day = %(last)s::date
    ORDER BY proposal_id DESC
    LIMIT 1
) AS newest
WHERE action = 'proposed'

-- name: insert_proposal
INSERT INTO recon_period_proposals (supplier, first_day, last_day, action, carry, actor, account, reason)
VALUES (%(supplier)s::text, %(first)s::date, %(last)s::date, %(action)s, %(carry)s, %(actor)s::text, %(account)s::text,
        %(reason)s::text)
RETURNING proposal_id

-- name: list_periods
-- Closed periods and those that are proposed, the newest day first.
SELECT supplier, first_day, last_day, 'closed' AS state, p.actor, p.account, p.reason, p.closed_at AS at,
       q.actor AS proposed_by, coalesce(q.carry, false) AS carry, own_rows, own_sums, encode(own_digest, 'hex') AS own_digest,
       (SELECT count(DISTINCT d.day) FROM recon_closed_days d
        WHERE d.period_id = p.period_id AND d.previous IS NOT NULL)::integer AS days_changed
FROM recon_periods p LEFT JOIN (SELECT proposal_id, actor, carry FROM recon_period_proposals) AS q USING (proposal_id)
WHERE %(supplier)s::text IS NULL OR supplier = %(supplier)s
UNION ALL
SELECT supplier, first_day, last_day, 'proposed', actor, account, reason, created_at, actor, carry, NULL, NULL, NULL, 0
FROM (
    SELECT DISTINCT ON (supplier, first_day, last_day) * FROM recon_period_proposals
    WHERE %(supplier)s::text IS NULL OR supplier = %(supplier)s
    ORDER BY supplier, first_day, last_day, proposal_id DESC
) AS newest
WHERE action = 'proposed' AND NOT EXISTS (SELECT FROM recon_periods p WHERE p.supplier = newest.supplier
                                          AND p.first_day <= newest.last_day AND p.last_day >= newest.first_day)
ORDER BY last_day DESC, supplier, first_day
LIMIT %(limit)s
