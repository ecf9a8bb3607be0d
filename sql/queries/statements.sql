-- The catalogue of statements.

-- name: lock_supplier
-- One intake of a supplier at a time; until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('statements ' || %(supplier)s::text, 0))

-- name: known_file
-- What became of a content that came before: taken under whatever name, else refused under this one. One without lines is
-- the same every day: it is known for its `day` alone.
SELECT state, day, error, EXISTS (SELECT FROM statement_files n WHERE n.supersedes = f.file_id), object_key, taken_at
FROM statement_files f
WHERE (supplier, sha256) = (%(supplier)s::text, %(sha256)s::bytea) AND CASE state WHEN 'taken' THEN line_count > 0 OR day = %(day)s::date ELSE name = %(name)s::text END
ORDER BY state = 'taken' DESC, file_id DESC
LIMIT 1

-- name: current_file
-- The one that counts for a day.
SELECT file_id, line_count, object_key, taken_at FROM statement_files
WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date) AND state = 'taken'
ORDER BY file_id DESC
LIMIT 1

-- name: add_file
INSERT INTO statement_files (supplier, day, name, sha256, size_bytes, state, supersedes, line_count, sums, object_key,
                             object_sha256, error, actor)
VALUES (%(supplier)s, %(day)s, %(name)s, %(sha256)s, %(size_bytes)s, %(state)s, %(supersedes)s, %(line_count)s,
        %(sums)s, %(object_key)s, %(object_sha256)s, %(error)s, %(actor)s)
RETURNING file_id

-- name: superseded_file
-- A content that was taken and that counts no more, or that was taken before the end of its day (`day_end`), which is past
-- now: its last row, and the file that counts for its day now.
SELECT f.file_id, f.day, f.line_count, current.file_id
FROM (SELECT file_id, supplier, day, line_count, taken_at FROM statement_files
      WHERE (supplier, sha256, day, state) = (%(supplier)s::text, %(sha256)s::bytea, %(day)s::date, 'taken')
      ORDER BY file_id DESC
      LIMIT 1) AS f
CROSS JOIN LATERAL (SELECT file_id FROM statement_files AS n
                    WHERE (n.supplier, n.day, n.state) = (f.supplier, f.day, 'taken')
                    ORDER BY n.file_id DESC
                    LIMIT 1) AS current
WHERE current.file_id <> f.file_id
   OR f.taken_at < %(day_end)s AND clock_timestamp() >= %(day_end)s

-- name: add_file_again
-- As it was read when it was taken first: its object in the archive is the same.
INSERT INTO statement_files (supplier, day, name, sha256, size_bytes, state, supersedes, line_count, sums, object_key,
                             object_sha256, actor)
SELECT supplier, day, %(name)s, sha256, size_bytes, state, %(supersedes)s, line_count, sums, object_key, object_sha256,
       %(actor)s
FROM statement_files WHERE file_id = %(file_id)s
RETURNING file_id

-- name: list_files
-- The newest first. One that another has superseded says so.
SELECT f.file_id, f.supplier, f.day, f.name, f.sha256,
       CASE WHEN n.file_id IS NOT NULL THEN 'superseded' ELSE f.state END,
       f.line_count, f.sums, f.object_key, f.error, f.actor, f.taken_at
FROM statement_files AS f LEFT JOIN statement_files AS n ON n.supersedes = f.file_id
WHERE (%(supplier)s::text IS NULL OR f.supplier = %(supplier)s) AND (%(day)s::date IS NULL OR f.day = %(day)s)
ORDER BY f.file_id DESC
LIMIT %(limit)s

-- name: days_without
-- Days of a range for which nothing was taken.
SELECT days.day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS days(day)
WHERE NOT EXISTS (SELECT FROM statement_files AS f
                  WHERE (f.supplier, f.day, f.state) = (%(supplier)s::text, days.day::date, 'taken'))
ORDER BY days.day

-- name: days_to_reconcile
-- Taken days up to `last` that no run was made of with the statement that counts now, or none after the day was over, the
-- oldest first. Of the days from
-- `recent` on also those where an internal row is under way that its line has decided: the run that had to end it did not.
-- No day of a closed period.
WITH taken AS (
    SELECT DISTINCT ON (day) day, object_key FROM statement_files
    WHERE supplier = %(supplier)s::text AND state = 'taken' AND day <= %(last)s::date
    ORDER BY day, file_id DESC
), run AS (
    SELECT DISTINCT ON (day) day, figures -> 'statement' ->> 'key' AS object_key,
           started_at < (day + 1)::timestamp AT TIME ZONE %(zone)s::text AS early FROM recon_runs
    WHERE supplier = %(supplier)s::text AND day <= %(last)s::date
    ORDER BY day, run_id DESC
)
SELECT t.day FROM taken AS t LEFT JOIN run AS r USING (day)
WHERE (r.object_key IS DISTINCT FROM t.object_key OR r.early AND t.day < %(last)s::date
       OR t.day >= %(recent)s::date AND EXISTS (
           SELECT FROM recon_breaks AS b
           WHERE (b.supplier, b.day) = (%(supplier)s::text, t.day) AND b.state IN ('open', 'proposed')
             AND 'status' = ANY (b.issues) AND b.own ->> 'status' = 'processing' AND b.line ->> 'status' <> 'pending'))
  AND NOT EXISTS (SELECT FROM recon_periods AS p
                  WHERE p.supplier = %(supplier)s::text AND t.day BETWEEN p.first_day AND p.last_day)
ORDER BY t.day
LIMIT %(limit)s

-- name: has_statement_files
-- Whether the intake of statements is there at all.
SELECT to_regclass('statement_files') IS NOT NULL

-- name: statement_of
SELECT object_key FROM statement_files
WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date) AND state = 'taken' AND object_key IS NOT NULL
ORDER BY file_id DESC
LIMIT 1

-- name: open_absence
-- Who has proposed that a day has no statement, unless that was rejected or confirmed since.
SELECT absence_id, actor, account
FROM (SELECT absence_id, action, actor, account FROM statement_absences
      WHERE (supplier, day) = (%(supplier)s::text, %(day)s::date)
      ORDER BY absence_id DESC LIMIT 1) AS newest
WHERE action = 'proposed'

-- name: add_absence
INSERT INTO statement_absences (supplier, day, action, actor, account, reason, file_id)
VALUES (%(supplier)s, %(day)s, %(action)s, %(actor)s, %(account)s, %(reason)s, %(file_id)s::bigint)
RETURNING absence_id
