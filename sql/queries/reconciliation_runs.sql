-- Runs of reconciliation: what a run starts from and what it records. A statement that stores the rows of another one
-- gives how many rows were sent and how many PostgreSQL stored.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended(%(supplier)s::text, 7303014))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended(%(supplier)s::text, 7303014))

-- name: current_runs
-- The newest run of every day from one to another.
SELECT DISTINCT ON (day) run_id, day, object_prefix
FROM recon_runs
WHERE supplier = %(supplier)s::text AND day BETWEEN %(first)s::date AND %(last)s::date
ORDER BY day, run_id DESC

-- name: taken_rows
-- Internal rows that are not free for this day: the newest run of another day has matched them across its edge, or a
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
-- A break whose internal row people have ended is the same break, though the row has another status than when it was found.
UPDATE pg_temp.recon_found f SET fingerprint = encode(b.fingerprint, 'hex')
FROM recon_breaks b
WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state = 'resolved' AND b.class = f.class
  AND b.own ->> 'id' = f.own ->> 'id' AND b.line IS NOT DISTINCT FROM f.line
  AND (SELECT x.decision FROM recon_resolutions x WHERE x.break_id = b.break_id ORDER BY x.resolution_id DESC LIMIT 1)
      IN ('settle_completed', 'settle_failed')

-- name: insert_matches
-- A suggestion names the break of its line: a carried one's, or the one that this run has found.
WITH stored AS (
    INSERT INTO recon_matches (run_id, line_no, own_id, own_created_at, method, state, score, break_id)
    SELECT %(run_id)s::bigint, m.line_no, m.own_id, m.own_created_at, m.method, m.state, m.score,
           CASE WHEN m.state <> 'suggested' THEN NULL WHEN m.line_no < 0 THEN -m.line_no ELSE b.break_id END
    FROM pg_temp.recon_matched m
    LEFT JOIN pg_temp.recon_found f ON f.line_no = m.line_no AND f.own IS NULL AND m.state = 'suggested'
    LEFT JOIN recon_breaks b ON b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex')
    RETURNING line_no
)
SELECT (SELECT count(*) FROM pg_temp.recon_matched), (SELECT count(*) FROM stored)

-- name: insert_breaks
-- A break that was found before is the same break, whatever became of it. Under the lock of the chain nobody else adds one.
WITH stored AS (
    INSERT INTO recon_breaks (run_id, fingerprint, supplier, day, class, issues, currency, difference, variance, escalated,
                              line_no, line, own, note, period_day)
    SELECT %(run_id)s::bigint, decode(fingerprint, 'hex'), %(supplier)s::text, %(day)s::date, class, issues, currency, difference, variance,
           escalated, line_no, line, own, coalesce(note, ''), %(day)s::date
    FROM pg_temp.recon_found
    ORDER BY found_no
    ON CONFLICT (supplier, fingerprint) DO NOTHING
    RETURNING break_id
)
SELECT (SELECT count(DISTINCT f.fingerprint) FROM pg_temp.recon_found f
        WHERE NOT EXISTS (SELECT FROM recon_breaks b
                          WHERE b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex'))),
       (SELECT count(*) FROM stored)

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
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
    SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'found_again', 'a run over the same day finds it again',
           period_day
    FROM again ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM noted)

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
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
    SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'counterpart_gone',
           'the run that had found its counterpart was replaced', period_day
    FROM again ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM noted)

-- name: reopen_confirmed
-- The internal side of a match that a person confirmed, when the line is no longer in the statement of its day.
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
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
    SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'counterpart_gone',
           'the line that it was confirmed for is not in the statement any more', period_day
    FROM again ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM noted)

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
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
    SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'not_found_again', 'a later run over the same day no longer finds it'
    FROM gone ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM noted)

-- name: close_absent
-- Waiting breaks of this day that this run does not find.
WITH gone AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state IN ('open', 'proposed')
      AND NOT EXISTS (SELECT FROM pg_temp.recon_found f WHERE decode(f.fingerprint, 'hex') = b.fingerprint)
    RETURNING b.break_id
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
    SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'not_found_again', 'a later run over the same day no longer finds it'
    FROM gone ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM noted)

-- name: close_counterparts
-- Breaks of other days whose counterpart this run has found: those that wait, and those that were held for right.
WITH met AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day <> %(day)s::date
      AND (b.break_id = ANY(%(arrived)s::bigint[]) AND b.state <> 'closed'
           OR b.state IN ('open', 'proposed') AND b.class = 'missing_there' AND b.day >= %(window_first)s::date AND b.day <= %(window_last)s::date
              AND (b.own ->> 'id')::uuid IN (SELECT own_id FROM pg_temp.recon_matched WHERE state = 'confirmed'))
    RETURNING b.break_id
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
    SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'counterpart_arrived', 'the other side came with another day'
    FROM met ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM met), (SELECT count(*) FROM noted)

-- name: confirm_arrived
-- A row that came for a line that had been held for right is that line's, also when the line's own day is run again.
WITH arrived AS (
    SELECT x.resolution_id, b.break_id, m.own_id, m.own_created_at,
           CASE m.method WHEN 'payout' THEN m.method ELSE 'confirmed' END AS method
    FROM recon_resolutions x JOIN recon_breaks b USING (break_id)
    JOIN pg_temp.recon_matched m ON m.line_no = -b.break_id AND m.state = 'confirmed'
    WHERE x.run_id = %(run_id)s::bigint AND x.decision = 'counterpart_arrived' AND b.break_id = ANY(%(expected)s::bigint[])
), noted AS (
    INSERT INTO recon_confirmations (resolution_id, break_id, own_id, own_created_at, method)
    SELECT * FROM arrived
    RETURNING break_id
)
SELECT (SELECT count(*) FROM arrived), (SELECT count(*) FROM noted)

-- name: auto_resolve
WITH done AS (
    UPDATE recon_breaks b SET state = 'resolved'
    FROM pg_temp.recon_found f
    WHERE b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex') AND b.state = 'open'
      AND f.rule IS NOT NULL
    RETURNING b.break_id, f.rule
), noted AS (
    INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
    SELECT break_id, %(run_id)s::bigint, 'auto_resolved', %(actor)s::text, rule, %(reasons)s::jsonb ->> rule
    FROM done ORDER BY break_id
    RETURNING break_id
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM noted)

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
