-- What the people of finance look at first: days by suppliers, and the breaks that wait.

-- name: days
-- Each day of each supplier, the newest first: the statement that counts, the newest run, its breaks, whether it is closed.
SELECT d.day::date, s.supplier, coalesce(f.line_count, r.line_count) AS line_count,
       f.file_id IS NOT NULL AND EXISTS (SELECT FROM statement_absences a WHERE a.file_id = f.file_id) AS declared,
       f.file_id IS NULL AND EXISTS (SELECT FROM unnest(%(refused_suppliers)s::text[], %(refused_days)s::date[]) AS q(supplier, day)
                                     WHERE (q.supplier, q.day) = (s.supplier, d.day::date)) AS refused,
       r.run_id, r.verdict, (r.figures ->> 'matched_share')::float8 AS matched_share,
       r.run_id IS NOT NULL AND f.object_key <> r.figures -> 'statement' ->> 'key' IS TRUE AS is_outdated,
       coalesce(r.started_at < (d.day::date + 1)::timestamp AT TIME ZONE %(zone)s::text, false) AS is_early,
       b.breaks, b.waiting,
       EXISTS (SELECT FROM recon_periods p WHERE p.supplier = s.supplier
               AND d.day::date BETWEEN p.first_day AND p.last_day) AS closed
FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS d(day)
CROSS JOIN unnest(%(suppliers)s::text[]) WITH ORDINALITY AS s(supplier, place)
LEFT JOIN LATERAL (
    SELECT file_id, line_count, object_key FROM statement_files
    WHERE (supplier, day, state) = (s.supplier, d.day::date, 'taken') ORDER BY file_id DESC LIMIT 1
) AS f ON true
LEFT JOIN LATERAL (
    SELECT run_id, verdict, figures, started_at, line_count FROM recon_runs
    WHERE (supplier, day) = (s.supplier, d.day::date) ORDER BY run_id DESC LIMIT 1
) AS r ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS breaks, count(*) FILTER (WHERE state IN ('open', 'proposed')) AS waiting FROM recon_breaks
    WHERE (supplier, day) = (s.supplier, d.day::date)
) AS b
ORDER BY d.day DESC, s.place

-- name: refused
-- The names of refused files that came on a day or later. Such a file has no day: its content could not be read.
SELECT DISTINCT supplier, name FROM statement_files
WHERE state = 'quarantined' AND supplier = ANY (%(suppliers)s::text[])
  AND taken_at >= %(first)s::date::timestamp AT TIME ZONE %(zone)s::text

-- name: undecided
-- How many breaks wait for a decision, the proposed ones too, and how many of these are escalated.
SELECT count(*), count(*) FILTER (WHERE escalated) FROM recon_breaks WHERE state IN ('open', 'proposed')

-- name: waiting
-- The breaks that wait for a decision, by supplier, class and currency: their number, ages in whole days, and money.
SELECT supplier, class, currency, count(*), count(*) FILTER (WHERE escalated), count(*) FILTER (WHERE state = 'proposed'),
       count(*) FILTER (WHERE day >= %(today)s::date - 1), count(*) FILTER (WHERE day BETWEEN %(today)s::date - 7 AND %(today)s::date - 2),
       count(*) FILTER (WHERE day BETWEEN %(today)s::date - 30 AND %(today)s::date - 8),
       count(*) FILTER (WHERE day < %(today)s::date - 30), min(day), sum(difference), sum(variance)
FROM recon_breaks
WHERE state IN ('open', 'proposed') AND (%(supplier)s::text IS NULL OR supplier = %(supplier)s)
  AND (%(first)s::date IS NULL OR day >= %(first)s::date) AND (%(last)s::date IS NULL OR day <= %(last)s::date)
GROUP BY supplier, class, currency
ORDER BY supplier, class, currency
