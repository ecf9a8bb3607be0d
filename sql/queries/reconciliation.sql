-- Reconciliation: what is written of a run, the breaks and who works them, closed periods, the audit chain.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended(%(supplier)s::text, 7303014))

-- name: closed_period
-- The closed period that holds a day, if one does.
SELECT period_id, first_day, last_day
FROM recon_periods
WHERE supplier = %(supplier)s::text AND %(day)s::date BETWEEN first_day AND last_day
LIMIT 1

-- name: current_runs
-- The newest run of every day from one to another.
SELECT DISTINCT ON (day) run_id, day, object_prefix
FROM recon_runs
WHERE supplier = %(supplier)s::text AND day BETWEEN %(first)s::date AND %(last)s::date
ORDER BY day, run_id DESC

-- name: taken_rows
-- Rows of ours that are not free for this day: the newest run of another day has matched them across its edge, or a
-- person has confirmed them for a line of another day. Not those that were matched with a line carried on from this very
-- day: that line is here again, and takes its row itself. Nor those that a run of this day matched with a carried line.
SELECT m.own_id
FROM recon_matches m JOIN recon_runs r USING (run_id)
WHERE r.supplier = %(supplier)s::text AND r.day <> %(day)s::date AND m.state = 'confirmed'
  AND m.own_created_at >= %(lower)s AND m.own_created_at < %(upper)s
  AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id)
  AND NOT EXISTS (SELECT FROM recon_breaks b WHERE b.break_id = -m.line_no AND b.day = %(day)s::date)
UNION
SELECT c.own_id
FROM recon_confirmations c JOIN recon_breaks b USING (break_id) JOIN recon_resolutions x USING (resolution_id)
WHERE b.supplier = %(supplier)s::text AND b.day <> %(day)s::date AND x.action IN ('resolved', 'closed')
  AND c.own_created_at >= %(lower)s AND c.own_created_at < %(upper)s
  AND NOT EXISTS (SELECT FROM recon_resolutions later
                  WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
  AND NOT EXISTS (SELECT FROM recon_runs r WHERE r.run_id = x.run_id AND r.day = %(day)s::date)

-- name: confirmed_matches
-- Lines of this day whose rows are known already: a person said so, or the row came after the line was held for right.
SELECT c.break_id, b.line::text, c.own_id::text, c.method
FROM recon_breaks b JOIN recon_confirmations c USING (break_id) JOIN recon_resolutions x USING (resolution_id)
WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND x.action IN ('resolved', 'closed')
  AND NOT EXISTS (SELECT FROM recon_resolutions later
                  WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
ORDER BY c.break_id, c.own_id

-- name: carried_breaks
-- Breaks of earlier days that a counterpart may still come for, the newest first: those that are open, and those whose
-- side was held for right, so that the other side is to be corrected (`expected`). And all that a run of this very day has
-- closed already, so that running it again finds the same.
WITH wanted AS (
    (SELECT break_id FROM (
         SELECT break_id, day FROM recon_breaks
         WHERE supplier = %(supplier)s::text AND day < %(day)s::date AND class IN ('missing_here', 'missing_there')
           AND state IN ('open', 'proposed')
         UNION ALL
         SELECT break_id, day FROM recon_breaks b
         WHERE supplier = %(supplier)s::text AND day < %(day)s::date AND class IN ('missing_here', 'missing_there')
           AND state = 'resolved' AND (
               SELECT decision FROM recon_resolutions x WHERE x.break_id = b.break_id ORDER BY resolution_id DESC LIMIT 1
           ) = ANY(CASE class WHEN 'missing_here' THEN ARRAY['theirs_is_right']
                              ELSE ARRAY['ours_is_right', 'settle_completed'] END)
     ) AS waiting
     ORDER BY day DESC, break_id
     LIMIT %(limit)s)
    UNION
    SELECT x.break_id FROM recon_runs r JOIN recon_resolutions x USING (run_id)
    WHERE r.supplier = %(supplier)s::text AND r.day = %(day)s::date AND x.decision = 'counterpart_arrived'
      AND NOT EXISTS (SELECT FROM recon_resolutions later
                      WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
)
SELECT b.break_id, b.class, b.line::text, b.own ->> 'id' AS own_id,
       EXISTS (SELECT FROM recon_resolutions x
               WHERE x.break_id = b.break_id AND x.action = 'resolved' AND NOT EXISTS (
                   SELECT FROM recon_resolutions later WHERE later.break_id = x.break_id
                   AND later.resolution_id > x.resolution_id AND later.action = 'reopened')) AS expected
FROM wanted JOIN recon_breaks b USING (break_id)
WHERE b.day < %(day)s::date AND b.class IN ('missing_here', 'missing_there')
ORDER BY b.day DESC, b.break_id

-- name: insert_run
INSERT INTO recon_runs (supplier, day, supersedes, digest, statement_digest, own_digest, rules, verdict, line_count,
                        own_count, matched_count, break_count, figures, object_prefix, actor, started_at)
VALUES (%(supplier)s::text, %(day)s::date,
        (SELECT max(run_id) FROM recon_runs WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date)),
        %(digest)s, %(statement_digest)s, %(own_digest)s, %(rules)s, %(verdict)s, %(line_count)s, %(own_count)s,
        %(matched_count)s, %(break_count)s, %(figures)s, %(object_prefix)s, %(actor)s::text, %(started_at)s)
RETURNING run_id, supersedes

-- name: create_found
CREATE TEMPORARY TABLE pg_temp.recon_found (
    found_no bigint, fingerprint text, class text, issues text[], currency text, difference numeric, variance numeric,
    escalated boolean, line_no bigint, line jsonb, own jsonb, note text, rule text
) ON COMMIT DROP

-- name: copy_found
COPY pg_temp.recon_found FROM STDIN (FORMAT csv)

-- name: create_matched
CREATE TEMPORARY TABLE pg_temp.recon_matched (
    line_no bigint, own_id uuid, own_created_at timestamptz, method text, state text, score numeric
) ON COMMIT DROP

-- name: copy_matched
COPY pg_temp.recon_matched FROM STDIN (FORMAT csv)

-- name: keep_settled
-- A break whose row of ours people have ended is the same break, though the row has another status than when it was found.
UPDATE pg_temp.recon_found f SET fingerprint = encode(b.fingerprint, 'hex')
FROM recon_breaks b
WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state = 'resolved' AND b.class = f.class
  AND b.own ->> 'id' = f.own ->> 'id' AND b.line IS NOT DISTINCT FROM f.line
  AND (SELECT x.decision FROM recon_resolutions x WHERE x.break_id = b.break_id ORDER BY x.resolution_id DESC LIMIT 1)
      IN ('settle_completed', 'settle_failed')

-- name: insert_matches
-- A suggestion names the break of its line: a carried one's, or the one that this run has found.
INSERT INTO recon_matches (run_id, line_no, own_id, own_created_at, method, state, score, break_id)
SELECT %(run_id)s::bigint, m.line_no, m.own_id, m.own_created_at, m.method, m.state, m.score,
       CASE WHEN m.state <> 'suggested' THEN NULL WHEN m.line_no < 0 THEN -m.line_no ELSE b.break_id END
FROM pg_temp.recon_matched m
LEFT JOIN pg_temp.recon_found f ON f.line_no = m.line_no AND f.own IS NULL AND m.state = 'suggested'
LEFT JOIN recon_breaks b ON b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex')

-- name: insert_breaks
-- A break that was found before is the same break, whatever became of it.
INSERT INTO recon_breaks (run_id, fingerprint, supplier, day, class, issues, currency, difference, variance, escalated,
                          line_no, line, own, note, period_day)
SELECT %(run_id)s::bigint, decode(fingerprint, 'hex'), %(supplier)s::text, %(day)s::date, class, issues, currency, difference, variance,
       escalated, line_no, line, own, coalesce(note, ''), %(day)s::date
FROM pg_temp.recon_found
ORDER BY found_no
ON CONFLICT (supplier, fingerprint) DO NOTHING

-- name: reopen_found
-- Breaks that were closed and that this run finds, whatever had closed them; and those of a confirmed match that does not
-- hold any more. Not a line that the newest run of another day has its row for. The run's day is open, so they are
-- accounted in it.
WITH again AS (
    UPDATE recon_breaks b SET state = 'open', period_day = %(day)s::date
    FROM pg_temp.recon_found f
    WHERE b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex')
      AND (b.state = 'closed'
           OR b.state = 'resolved'
              AND 'same_transaction' = (SELECT x.decision FROM recon_resolutions x WHERE x.break_id = b.break_id
                                        ORDER BY x.resolution_id DESC LIMIT 1))
      AND NOT EXISTS (SELECT FROM recon_matches m JOIN recon_runs r USING (run_id)
                      WHERE r.supplier = %(supplier)s::text AND r.day <> %(day)s::date
                        AND m.line_no = -b.break_id AND m.state = 'confirmed'
                        AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id))
    RETURNING b.break_id, b.period_day
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'found_again', 'a run over the same day finds it again',
       period_day
FROM again ORDER BY break_id

-- name: reopen_counterparts
-- Breaks of other days whose counterpart a former run of this day had, and this one has not: unless the newest run of the
-- break's own day has the two together. In a period that is closed by now nobody could work them: they go to the run's day.
WITH again AS (
    UPDATE recon_breaks b
    SET state = 'open',
        period_day = CASE WHEN EXISTS (SELECT FROM recon_periods p WHERE p.supplier = b.supplier
                                       AND b.period_day BETWEEN p.first_day AND p.last_day)
                          THEN %(day)s::date ELSE b.period_day END
    FROM recon_runs r JOIN recon_resolutions x USING (run_id)
    WHERE r.supplier = %(supplier)s::text AND r.day = %(day)s::date AND x.decision = 'counterpart_arrived'
      AND b.break_id = x.break_id AND b.state = 'closed' AND b.break_id <> ALL(%(arrived)s::bigint[])
      AND NOT EXISTS (SELECT FROM recon_resolutions later
                      WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
      AND NOT EXISTS (SELECT FROM pg_temp.recon_matched m
                      WHERE m.state = 'confirmed' AND m.own_id = (b.own ->> 'id')::uuid AND b.line IS NULL)
      AND NOT EXISTS (SELECT FROM recon_matches was
                      JOIN recon_matches m ON m.own_id = was.own_id AND m.own_created_at = was.own_created_at
                      JOIN recon_runs o ON o.run_id = m.run_id
                      WHERE was.line_no = -b.break_id AND was.state = 'confirmed' AND m.state = 'confirmed'
                        AND o.supplier = b.supplier AND o.day = b.day
                        AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = o.run_id))
    RETURNING b.break_id, b.period_day
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'counterpart_gone',
       'the run that had found its counterpart was replaced', period_day
FROM again ORDER BY break_id

-- name: reopen_confirmed
-- Our side of a match that a person confirmed, when the line is no longer in the statement of its day.
WITH lost AS (
    SELECT c.own_break_id FROM recon_breaks l JOIN recon_confirmations c USING (break_id)
    JOIN recon_resolutions x USING (resolution_id)
    WHERE l.supplier = %(supplier)s::text AND l.day = %(day)s::date AND x.action = 'resolved'
      AND c.own_break_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM recon_resolutions later
                      WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
      AND NOT EXISTS (SELECT FROM pg_temp.recon_matched m WHERE m.state = 'confirmed' AND m.own_id = c.own_id)
), again AS (
    UPDATE recon_breaks b
    SET state = 'open',
        period_day = CASE WHEN EXISTS (SELECT FROM recon_periods p WHERE p.supplier = b.supplier
                                       AND b.period_day BETWEEN p.first_day AND p.last_day)
                          THEN %(day)s::date ELSE b.period_day END
    FROM lost WHERE b.break_id = lost.own_break_id AND b.state = 'resolved'
    RETURNING b.break_id, b.period_day
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'counterpart_gone',
       'the line that it was confirmed for is not in the statement any more', period_day
FROM again ORDER BY break_id

-- name: close_unconfirmed
-- And the break of that line.
WITH gone AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state = 'resolved'
      AND NOT EXISTS (SELECT FROM pg_temp.recon_found f WHERE decode(f.fingerprint, 'hex') = b.fingerprint)
      AND EXISTS (SELECT FROM recon_confirmations c JOIN recon_resolutions x USING (resolution_id)
                  WHERE c.break_id = b.break_id AND x.action = 'resolved'
                    AND NOT EXISTS (SELECT FROM recon_resolutions later
                                    WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
                    AND NOT EXISTS (SELECT FROM pg_temp.recon_matched m
                                    WHERE m.state = 'confirmed' AND m.own_id = c.own_id))
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'not_found_again', 'a later run over the same day no longer finds it'
FROM gone ORDER BY break_id

-- name: close_absent
-- Waiting breaks of this day that this run does not find.
WITH gone AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state IN ('open', 'proposed')
      AND NOT EXISTS (SELECT FROM pg_temp.recon_found f WHERE decode(f.fingerprint, 'hex') = b.fingerprint)
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'not_found_again', 'a later run over the same day no longer finds it'
FROM gone ORDER BY break_id

-- name: close_counterparts
-- Breaks of other days whose counterpart this run has found: those that wait, and those that were held for right.
WITH met AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day <> %(day)s::date
      AND (b.break_id = ANY(%(arrived)s::bigint[]) AND b.state <> 'closed'
           OR b.state IN ('open', 'proposed') AND b.class = 'missing_there' AND b.day >= %(window_first)s::date AND b.day <= %(window_last)s::date
              AND (b.own ->> 'id')::uuid IN (SELECT own_id FROM pg_temp.recon_matched WHERE state = 'confirmed'))
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'counterpart_arrived', 'the other side came with another day'
FROM met ORDER BY break_id

-- name: confirm_arrived
-- A row that came for a line that had been held for right is that line's, also when the line's own day is run again.
INSERT INTO recon_confirmations (resolution_id, break_id, own_id, own_created_at, method)
SELECT x.resolution_id, b.break_id, m.own_id, m.own_created_at, CASE m.method WHEN 'payout' THEN m.method ELSE 'confirmed' END
FROM recon_resolutions x JOIN recon_breaks b USING (break_id)
JOIN pg_temp.recon_matched m ON m.line_no = -b.break_id AND m.state = 'confirmed'
WHERE x.run_id = %(run_id)s::bigint AND x.decision = 'counterpart_arrived' AND b.break_id = ANY(%(expected)s::bigint[])

-- name: auto_resolve
WITH done AS (
    UPDATE recon_breaks b SET state = 'resolved'
    FROM pg_temp.recon_found f
    WHERE b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex') AND b.state = 'open'
      AND f.rule IS NOT NULL
    RETURNING b.break_id, f.rule
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'auto_resolved', %(actor)s::text, rule, %(reasons)s::jsonb ->> rule
FROM done ORDER BY break_id

-- name: waiting
-- What waits for somebody at a supplier, and since which day the oldest does.
SELECT count(*), min(day), coalesce(sum(difference), 0)
FROM recon_breaks
WHERE supplier = %(supplier)s::text AND state IN ('open', 'proposed')

-- name: list_runs
SELECT run_id, supplier, day, supersedes, digest, verdict, line_count, own_count, matched_count, break_count, figures,
       rules, object_prefix, actor, started_at, finished_at,
       NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id) AS current
FROM recon_runs r
WHERE (%(supplier)s::text IS NULL OR supplier = %(supplier)s::text)
  AND (%(first)s::date IS NULL OR day >= %(first)s::date) AND (%(last)s::date IS NULL OR day <= %(last)s::date)
  AND (%(run_id)s::bigint IS NULL OR run_id = %(run_id)s::bigint)
  AND (%(before)s::bigint IS NULL OR run_id < %(before)s)
ORDER BY run_id DESC
LIMIT %(limit)s

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

-- name: lock_break
SELECT supplier, difference, state, period_day, issues, line, own, day FROM recon_breaks
WHERE break_id = %(break_id)s::bigint FOR UPDATE

-- name: history
SELECT break_id, resolution_id, run_id, action, actor, account, decision, reason, period_day, created_at
FROM recon_resolutions
WHERE break_id = ANY(%(break_ids)s::bigint[])
ORDER BY break_id, resolution_id

-- name: last_proposal
-- Who has proposed what about a break.
SELECT actor, account, decision FROM recon_resolutions
WHERE break_id = %(break_id)s::bigint AND action = 'proposed'
ORDER BY resolution_id DESC
LIMIT 1

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

-- name: suggested_lines
-- Waiting breaks of lines that the newest runs suggest for the row of ours of a break.
SELECT DISTINCT m.break_id
FROM recon_breaks o JOIN recon_matches m ON m.own_id = (o.own ->> 'id')::uuid AND m.state = 'suggested'
JOIN recon_runs r ON r.run_id = m.run_id JOIN recon_breaks l ON l.break_id = m.break_id
WHERE o.break_id = %(break_id)s::bigint AND o.line IS NULL AND l.state IN ('open', 'proposed')
  AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id)
ORDER BY m.break_id

-- name: suggested_rows
-- The rows of ours that the newest run suggests for the line of a break, each with its own break where it has one, and
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

-- name: days_without_run
-- Days whose newest run says nothing of the whole day: there is none, or it was made before the day was over, or with another
-- statement than the one that counts now, or, unless such a statement will do (`without_lines`), with one that has no lines
-- and may be a file that was cut off.
SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS days(day)
WHERE (SELECT r.started_at >= (days.day::date + 1)::timestamp AT TIME ZONE %(zone)s::text
              AND (r.line_count > 0 OR %(without_lines)s)
              AND coalesce((SELECT f.object_key FROM statement_files f
                            WHERE (f.supplier, f.day, f.state) = (r.supplier, r.day, 'taken')
                            ORDER BY f.file_id DESC LIMIT 1) = r.figures -> 'statement' ->> 'key', true)
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

-- name: lock_chain
-- One writer of the chain at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(7303015)

-- name: last_event
SELECT event_no, hash FROM recon_events ORDER BY event_no DESC LIMIT 1

-- name: copy_events
COPY recon_events (event_no, previous_hash, hash, content) FROM STDIN

-- name: events
SELECT event_no, previous_hash, hash, content FROM recon_events ORDER BY event_no

-- name: run_records
-- What the chain says of a run, computed afresh: its record, the breaks it brought, the resolutions it made.
SELECT r.run_id,
       encode(sha256(convert_to(to_jsonb(r)::text, 'UTF8')), 'hex') AS record,
       (SELECT encode(sha256(convert_to(coalesce(string_agg(
                   encode(sha256(convert_to((to_jsonb(b) - 'state' - 'period_day')::text, 'UTF8')), 'hex'), ''
                   ORDER BY b.break_id), ''), 'UTF8')), 'hex')
        FROM recon_breaks b WHERE b.run_id = r.run_id) AS breaks,
       (SELECT encode(sha256(convert_to(coalesce(string_agg(
                   encode(sha256(convert_to(((to_jsonb(x) - 'account' - 'period_day') || jsonb_strip_nulls(
                       jsonb_build_object('account', account, 'period_day', period_day)))::text || coalesce(
                       (SELECT string_agg(to_jsonb(c)::text, '' ORDER BY c.own_id) FROM recon_confirmations c
                        WHERE c.resolution_id = x.resolution_id), ''), 'UTF8')), 'hex'), ''
                   ORDER BY x.resolution_id), ''), 'UTF8')), 'hex')
        FROM recon_resolutions x WHERE x.run_id = r.run_id) AS resolutions,
       (SELECT encode(sha256(convert_to(coalesce(string_agg(
                   encode(sha256(convert_to(((to_jsonb(m) - 'break_id') || jsonb_strip_nulls(
                       jsonb_build_object('break_id', break_id)))::text, 'UTF8')), 'hex'), ''
                   ORDER BY m.line_no, m.own_id), ''), 'UTF8')), 'hex')
        FROM recon_matches m WHERE m.run_id = r.run_id) AS matches
FROM recon_runs r
WHERE %(run_id)s::bigint[] IS NULL OR r.run_id = ANY(%(run_id)s::bigint[])
ORDER BY r.run_id

-- name: resolution_records
-- Resolutions by people, with the rows that they confirm: each is in the chain by itself.
SELECT resolution_id,
       encode(sha256(convert_to(((to_jsonb(x) - 'account' - 'period_day') || jsonb_strip_nulls(
           jsonb_build_object('account', account, 'period_day', period_day)))::text || coalesce(
           (SELECT string_agg(to_jsonb(c)::text, '' ORDER BY c.own_id) FROM recon_confirmations c
            WHERE c.resolution_id = x.resolution_id), ''), 'UTF8')), 'hex') AS record
FROM recon_resolutions x
WHERE run_id IS NULL AND (%(resolution_id)s::bigint[] IS NULL OR resolution_id = ANY(%(resolution_id)s::bigint[]))
ORDER BY resolution_id

-- name: period_records
SELECT period_id,
       encode(sha256(convert_to(((to_jsonb(p) - 'account' - 'proposal_id' - 'own_rows' - 'own_sums' - 'own_digest')
           || jsonb_strip_nulls(jsonb_build_object('account', account, 'proposal_id', proposal_id, 'own_rows', own_rows,
                                                   'own_sums', own_sums, 'own_digest', own_digest)))::text
           || coalesce((SELECT string_agg(to_jsonb(d)::text, '' ORDER BY d.day) FROM recon_closed_days d
                        WHERE d.period_id = p.period_id AND d.previous IS NULL), ''), 'UTF8')), 'hex') AS record
FROM recon_periods p
WHERE %(period_id)s::bigint[] IS NULL OR period_id = ANY(%(period_id)s::bigint[])
ORDER BY period_id

-- name: closed_day_records
-- Closed days that were found to be others than they were. What they were at closing is in the period's record.
SELECT state_id, encode(sha256(convert_to(to_jsonb(d)::text, 'UTF8')), 'hex') AS record
FROM recon_closed_days d
WHERE previous IS NOT NULL AND (%(state_id)s::bigint[] IS NULL OR state_id = ANY(%(state_id)s::bigint[]))
ORDER BY state_id

-- name: proposal_records
SELECT proposal_id, encode(sha256(convert_to(to_jsonb(p)::text, 'UTF8')), 'hex') AS record
FROM recon_period_proposals p
WHERE %(proposal_id)s::bigint[] IS NULL OR proposal_id = ANY(%(proposal_id)s::bigint[])
ORDER BY proposal_id

-- name: statement_records
-- Every look at a statement's file: what was taken in, what took its place, what was refused.
SELECT file_id, encode(sha256(convert_to(to_jsonb(f)::text, 'UTF8')), 'hex') AS record
FROM statement_files f
WHERE %(file_id)s::bigint[] IS NULL OR file_id = ANY(%(file_id)s::bigint[])
ORDER BY file_id

-- name: run_objects
-- What runs put into the archive. Equal runs share their objects: the newest has written them.
SELECT DISTINCT ON (object_key) object_key, sha256
FROM (
    SELECT run_id, object_prefix || '/' || name AS object_key, sha256
    FROM recon_runs CROSS JOIN LATERAL jsonb_each_text(coalesce(figures -> 'objects', '{}')) AS o(name, sha256)
    UNION ALL
    SELECT run_id, figures -> part ->> 'key', figures -> part ->> 'sha256'
    FROM recon_runs CROSS JOIN unnest(ARRAY['inputs', 'statement']) AS parts(part)
    WHERE figures -> part ->> 'key' IS NOT NULL
    UNION ALL
    SELECT run_id, object_key, encode(object_sha256, 'hex') FROM recon_closed_days
    UNION ALL
    SELECT 0, object_key, encode(object_sha256, 'hex') FROM statement_files WHERE object_key IS NOT NULL
) AS told
ORDER BY object_key, run_id DESC

-- name: contradicting_states
-- Breaks whose state or period is not what the last records about them say. Records that are older than the column do not
-- say to which day they moved a break: of those nothing can be told.
SELECT b.break_id, b.state, b.period_day, b.state <> told.state AS wrong_state
FROM recon_breaks b
LEFT JOIN LATERAL (
    SELECT action FROM recon_resolutions x
    WHERE x.break_id = b.break_id AND action NOT IN ('carried', 'noted') ORDER BY x.resolution_id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT x.period_day, true AS moved FROM recon_resolutions x
    WHERE x.break_id = b.break_id AND action IN ('carried', 'reopened') ORDER BY x.resolution_id DESC LIMIT 1
) AS period ON true
CROSS JOIN LATERAL (
    SELECT CASE last.action
        WHEN 'auto_resolved' THEN 'resolved' WHEN 'resolved' THEN 'resolved' WHEN 'closed' THEN 'closed'
        WHEN 'proposed' THEN 'proposed' ELSE 'open' END AS state
) AS told
WHERE b.state <> told.state OR b.period_day <> CASE WHEN period.moved THEN period.period_day ELSE b.day END
ORDER BY b.break_id
LIMIT 100

-- name: has_statement_files
-- Whether the intake of statements is there at all.
SELECT to_regclass('statement_files') IS NOT NULL

-- name: statement_of
SELECT object_key FROM statement_files
WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date) AND state = 'taken' AND object_key IS NOT NULL
ORDER BY file_id DESC
LIMIT 1
