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
-- Rows of ours that the newest run of another day has matched across its edge. Not those that it matched with a line
-- carried on from this very day: that line is here again, and takes its row itself.
SELECT m.own_id
FROM recon_matches m JOIN recon_runs r USING (run_id)
WHERE r.supplier = %(supplier)s::text AND r.day <> %(day)s::date AND m.state = 'confirmed'
  AND m.own_created_at >= %(lower)s AND m.own_created_at < %(upper)s
  AND NOT EXISTS (SELECT FROM recon_runs n WHERE n.supersedes = r.run_id)
  AND NOT EXISTS (SELECT FROM recon_breaks b WHERE b.break_id = -m.line_no AND b.day = %(day)s::date)

-- name: carried_breaks
-- Open breaks of earlier days that a counterpart may still come for, the newest first; and those that a run of this very
-- day has closed already, so that running it again finds the same.
WITH wanted AS (
    SELECT break_id FROM recon_breaks
    WHERE supplier = %(supplier)s::text AND day < %(day)s::date AND state IN ('open', 'proposed')
    UNION
    SELECT x.break_id FROM recon_runs r JOIN recon_resolutions x USING (run_id)
    WHERE r.supplier = %(supplier)s::text AND r.day = %(day)s::date AND x.decision = 'counterpart_arrived'
      AND NOT EXISTS (SELECT FROM recon_resolutions later
                      WHERE later.break_id = x.break_id AND later.resolution_id > x.resolution_id)
)
SELECT b.break_id, b.class, b.line::text, b.own ->> 'id' AS own_id
FROM wanted JOIN recon_breaks b USING (break_id)
WHERE b.day < %(day)s::date AND b.class IN ('missing_here', 'missing_there')
ORDER BY b.day DESC, b.break_id
LIMIT %(limit)s

-- name: insert_run
INSERT INTO recon_runs (supplier, day, supersedes, digest, statement_digest, own_digest, rules, verdict, line_count,
                        own_count, matched_count, break_count, figures, object_prefix, actor, started_at)
VALUES (%(supplier)s::text, %(day)s::date,
        (SELECT max(run_id) FROM recon_runs WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date)),
        %(digest)s, %(statement_digest)s, %(own_digest)s, %(rules)s, %(verdict)s, %(line_count)s, %(own_count)s,
        %(matched_count)s, %(break_count)s, %(figures)s, %(object_prefix)s, %(actor)s::text, %(started_at)s)
RETURNING run_id, supersedes

-- name: create_found
CREATE TEMPORARY TABLE recon_found (
    found_no bigint, fingerprint text, class text, issues text[], currency text, difference numeric, variance numeric,
    escalated boolean, line_no bigint, line jsonb, own jsonb, note text, rule text
) ON COMMIT DROP

-- name: copy_found
COPY recon_found FROM STDIN (FORMAT csv)

-- name: create_matched
CREATE TEMPORARY TABLE recon_matched (
    line_no bigint, own_id uuid, own_created_at timestamptz, method text, state text, score numeric
) ON COMMIT DROP

-- name: copy_matched
COPY recon_matched FROM STDIN (FORMAT csv)

-- name: insert_matches
INSERT INTO recon_matches (run_id, line_no, own_id, own_created_at, method, state, score)
SELECT %(run_id)s::bigint, line_no, own_id, own_created_at, method, state, score FROM recon_matched

-- name: insert_breaks
-- A break that was found before is the same break, whatever became of it.
INSERT INTO recon_breaks (run_id, fingerprint, supplier, day, class, issues, currency, difference, variance, escalated,
                          line_no, line, own, note, period_day)
SELECT %(run_id)s::bigint, decode(fingerprint, 'hex'), %(supplier)s::text, %(day)s::date, class, issues, currency, difference, variance,
       escalated, line_no, line, own, coalesce(note, ''), %(day)s::date
FROM recon_found
ORDER BY found_no
ON CONFLICT (supplier, fingerprint) DO NOTHING

-- name: reopen_found
-- Breaks that an earlier run no longer found, and this one does.
WITH again AS (
    UPDATE recon_breaks b SET state = 'open', period_day = b.day
    FROM recon_found f
    WHERE b.supplier = %(supplier)s::text AND b.fingerprint = decode(f.fingerprint, 'hex') AND b.state = 'closed'
      AND 'not_found_again' = (SELECT x.decision FROM recon_resolutions x WHERE x.break_id = b.break_id
                               ORDER BY x.resolution_id DESC LIMIT 1)
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'found_again', 'a run over the same day finds it again'
FROM again ORDER BY break_id

-- name: reopen_counterparts
-- Breaks of earlier days whose counterpart a former run of this day had, and this one has not.
WITH again AS (
    UPDATE recon_breaks b SET state = 'open'
    WHERE b.break_id = ANY(%(carried)s::bigint[]) AND b.break_id <> ALL(%(arrived)s::bigint[]) AND b.state = 'closed'
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'reopened', %(actor)s::text, 'counterpart_gone', 'the run that had found its counterpart was replaced'
FROM again ORDER BY break_id

-- name: close_absent
-- Waiting breaks of this day that this run does not find.
WITH gone AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day = %(day)s::date AND b.state IN ('open', 'proposed')
      AND NOT EXISTS (SELECT FROM recon_found f WHERE decode(f.fingerprint, 'hex') = b.fingerprint)
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'not_found_again', 'a later run over the same day no longer finds it'
FROM gone ORDER BY break_id

-- name: close_counterparts
-- Waiting breaks of other days whose counterpart this run has found.
WITH met AS (
    UPDATE recon_breaks b SET state = 'closed'
    WHERE b.supplier = %(supplier)s::text AND b.day <> %(day)s::date AND b.state IN ('open', 'proposed')
      AND (b.break_id = ANY(%(arrived)s::bigint[])
           OR b.class = 'missing_there' AND b.day >= %(window_first)s::date AND b.day <= %(window_last)s::date
              AND (b.own ->> 'id')::uuid IN (SELECT own_id FROM recon_matched WHERE state = 'confirmed'))
    RETURNING b.break_id
)
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason)
SELECT break_id, %(run_id)s::bigint, 'closed', %(actor)s::text, 'counterpart_arrived', 'the other side came with another day'
FROM met ORDER BY break_id

-- name: auto_resolve
WITH done AS (
    UPDATE recon_breaks b SET state = 'resolved'
    FROM recon_found f
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
       object_prefix, actor, started_at, finished_at,
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
SELECT break_id, supplier, class, difference, state, period_day, note FROM recon_breaks WHERE break_id = %(break_id)s::bigint FOR UPDATE

-- name: history
SELECT resolution_id, run_id, action, actor, decision, reason, created_at
FROM recon_resolutions
WHERE break_id = %(break_id)s::bigint
ORDER BY resolution_id

-- name: set_state
UPDATE recon_breaks SET state = %(state)s WHERE break_id = %(break_id)s::bigint

-- name: insert_resolution
INSERT INTO recon_resolutions (break_id, action, actor, decision, reason)
VALUES (%(break_id)s::bigint, %(action)s, %(actor)s::text, %(decision)s, %(reason)s::text)
RETURNING resolution_id

-- name: days_without_run
SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS days(day)
WHERE NOT EXISTS (SELECT FROM recon_runs r WHERE r.supplier = %(supplier)s::text AND r.day = days.day::date)
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

-- name: carry_break
WITH moved AS (
    UPDATE recon_breaks SET period_day = %(to)s::date WHERE break_id = %(break_id)s::bigint RETURNING break_id
)
INSERT INTO recon_resolutions (break_id, action, actor, decision, reason)
SELECT break_id, 'carried', %(actor)s::text, 'carried_on', %(reason)s::text FROM moved
RETURNING resolution_id

-- name: insert_period
INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason)
VALUES (%(supplier)s::text, %(first)s::date, %(last)s::date, %(actor)s::text, %(reason)s::text)
RETURNING period_id

-- name: lock_chain
-- One writer of the chain at a time, until its transaction ends.
SELECT pg_advisory_xact_lock(7303015)

-- name: last_event
SELECT event_no, hash FROM recon_events ORDER BY event_no DESC LIMIT 1

-- name: insert_event
INSERT INTO recon_events (event_no, previous_hash, hash, content)
VALUES (%(event_no)s, %(previous_hash)s, %(hash)s, %(content)s)

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
                   encode(sha256(convert_to(to_jsonb(x)::text, 'UTF8')), 'hex'), '' ORDER BY x.resolution_id), ''),
                   'UTF8')), 'hex')
        FROM recon_resolutions x WHERE x.run_id = r.run_id) AS resolutions,
       (SELECT encode(sha256(convert_to(coalesce(string_agg(
                   encode(sha256(convert_to(to_jsonb(m)::text, 'UTF8')), 'hex'), '' ORDER BY m.line_no, m.own_id), ''),
                   'UTF8')), 'hex')
        FROM recon_matches m WHERE m.run_id = r.run_id) AS matches
FROM recon_runs r
WHERE %(run_id)s::bigint IS NULL OR r.run_id = %(run_id)s::bigint
ORDER BY r.run_id

-- name: resolution_records
-- Resolutions by people: each is in the chain by itself.
SELECT resolution_id, encode(sha256(convert_to(to_jsonb(x)::text, 'UTF8')), 'hex') AS record
FROM recon_resolutions x
WHERE run_id IS NULL AND (%(resolution_id)s::bigint IS NULL OR resolution_id = %(resolution_id)s)
ORDER BY resolution_id

-- name: period_records
SELECT period_id, encode(sha256(convert_to(to_jsonb(p)::text, 'UTF8')), 'hex') AS record
FROM recon_periods p
WHERE %(period_id)s::bigint IS NULL OR period_id = %(period_id)s
ORDER BY period_id

-- name: contradicting_states
-- Breaks whose state is not what the last record about them says.
SELECT b.break_id, b.state
FROM recon_breaks b
LEFT JOIN LATERAL (
    SELECT action FROM recon_resolutions x
    WHERE x.break_id = b.break_id AND action NOT IN ('carried', 'noted') ORDER BY x.resolution_id DESC LIMIT 1
) AS last ON true
WHERE b.state <> CASE last.action
    WHEN 'auto_resolved' THEN 'resolved' WHEN 'resolved' THEN 'resolved' WHEN 'closed' THEN 'closed'
    WHEN 'proposed' THEN 'proposed' ELSE 'open' END
ORDER BY b.break_id
LIMIT 100

-- name: has_statement_files
-- Whether the intake of statements is there at all.
SELECT to_regclass('statement_files') IS NOT NULL

-- name: statement_of
SELECT object_key FROM statement_files
WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date) AND state = 'taken' AND object_key IS NOT NULL
ORDER BY taken_at DESC
LIMIT 1
