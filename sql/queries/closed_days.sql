-- The internal rows of closed days: what they were, what is looked at again, and which locks keep writers out meanwhile.

-- name: keep_writers_out
-- Until the transaction ends nobody who changes rows of a supplier's former days may commit, and all who did have ended.
SELECT pg_advisory_xact_lock(hashtextextended(%(supplier)s::text, 7303016))

-- name: keep_closings_out
-- The other side of it: the days do not get closed until the transaction ends. Always in the same order.
SELECT pg_advisory_xact_lock_shared(hashtextextended(supplier, 7303016))
FROM (SELECT DISTINCT unnest(%(suppliers)s::text[]) AS supplier ORDER BY 1) AS every

-- name: set_lock_timeout
SELECT set_config('lock_timeout', %(timeout)s, true)

-- name: today
-- The Johannesburg day by PostgreSQL's clock.
SELECT (now() AT TIME ZONE 'UTC' + make_interval(secs => %(offset_ms)s / 1000.0))::date

-- name: closed_periods
-- Periods that take no more rows, from one day to another.
SELECT supplier, first_day, last_day FROM recon_periods
WHERE last_day >= %(first)s::date AND first_day <= %(last)s::date
ORDER BY supplier, first_day

-- name: newest_period
SELECT coalesce(max(period_id), 0) FROM recon_periods

-- name: proposed_periods
-- Days that somebody proposes to close, or did: a superset does no harm.
SELECT DISTINCT supplier, first_day, last_day FROM recon_period_proposals p
WHERE action = 'proposed' AND last_day >= %(first)s::date AND first_day <= %(last)s::date
  AND NOT EXISTS (SELECT FROM recon_periods c WHERE c.proposal_id = p.proposal_id)

-- name: note_days
-- Rows came into days that are proposed for closing: whoever is closing them looks again.
INSERT INTO recon_day_changes (supplier, day)
SELECT * FROM unnest(%(suppliers)s::text[], %(days)s::date[])

-- name: noted_changes
SELECT change_id FROM recon_day_changes
WHERE supplier = %(supplier)s::text AND day BETWEEN %(first)s::date AND %(last)s::date

-- name: answered_changes
-- Those that a look at the supplier's closed days answers. Whoever is closing days still looks for those of an open proposal.
SELECT c.change_id FROM recon_day_changes c
WHERE c.supplier = %(supplier)s::text AND NOT EXISTS (
    SELECT FROM (
        SELECT DISTINCT ON (first_day, last_day) first_day, last_day, action FROM recon_period_proposals
        WHERE supplier = %(supplier)s::text
        ORDER BY first_day, last_day, proposal_id DESC
    ) AS newest
    WHERE newest.action = 'proposed' AND c.day BETWEEN newest.first_day AND newest.last_day
      AND NOT EXISTS (SELECT FROM recon_periods p WHERE p.supplier = %(supplier)s::text
                      AND p.first_day <= newest.last_day AND p.last_day >= newest.first_day))

-- name: forget_changes
DELETE FROM recon_day_changes WHERE change_id = ANY(%(changes)s::bigint[])

-- name: counting_runs
-- The newest run of each day, and what it read of ours.
SELECT DISTINCT ON (day) day, run_id, figures -> 'own_day', object_prefix || '/own.parquet',
       decode(figures -> 'objects' ->> 'own.parquet', 'hex')
FROM recon_runs
WHERE supplier = %(supplier)s::text AND day BETWEEN %(first)s::date AND %(last)s::date
ORDER BY day, run_id DESC

-- name: explained_ends
-- Of internal rows those whose end a record of a break explains: by the row itself, or by the reference of a line alone.
SELECT b.own ->> 'id', b.line ->> 'reference'
FROM recon_breaks b JOIN recon_resolutions x USING (break_id)
WHERE b.supplier = %(supplier)s::text AND x.action IN ('auto_resolved', 'noted', 'resolved')
  AND x.decision IN ('settled_by_statement', 'not_on_any_statement', 'settle_completed', 'settle_failed')
  AND (b.own ->> 'id' = ANY(%(ids)s::text[]) OR b.own IS NULL AND b.line ->> 'reference' = ANY(%(references)s::text[]))

-- name: insert_state
INSERT INTO recon_closed_days (supplier, day, period_id, run_id, previous, row_count, sums, digest, object_key, object_sha256)
VALUES (%(supplier)s::text, %(day)s::date, %(period_id)s::bigint, %(run_id)s::bigint, %(previous)s::bigint, %(rows)s::bigint,
        %(sums)s, %(digest)s, %(object_key)s, %(object_sha256)s)
RETURNING state_id

-- name: newest_states
-- What closed days were when they were last looked at: the `most` newest days (NULL: all), and all that were written to since.
WITH newest AS (
    SELECT DISTINCT ON (d.day) d.state_id, d.day, d.period_id, p.first_day, p.last_day, d.row_count, d.sums, d.digest,
           d.object_key, d.object_sha256
    FROM recon_closed_days d JOIN recon_periods p USING (period_id)
    WHERE d.supplier = %(supplier)s::text
    ORDER BY d.day DESC, d.state_id DESC
), recent AS (
    SELECT state_id FROM newest ORDER BY day DESC LIMIT %(most)s::bigint
)
SELECT *, EXISTS (SELECT FROM recon_day_changes c WHERE c.supplier = %(supplier)s::text AND c.day = newest.day) AS written
FROM newest
WHERE state_id IN (SELECT state_id FROM recent)
   OR day IN (SELECT c.day FROM recon_day_changes c WHERE c.supplier = %(supplier)s::text)
ORDER BY day

-- name: suppliers_with_states
SELECT DISTINCT supplier FROM recon_closed_days ORDER BY supplier

-- name: insert_break
-- Once a change: the fingerprint names the state that it is a change of.
INSERT INTO recon_breaks (run_id, fingerprint, supplier, day, class, issues, currency, difference, variance, escalated, own,
                          note, period_day)
VALUES (%(run_id)s::bigint, %(fingerprint)s, %(supplier)s::text, %(day)s::date, %(class)s, ARRAY[%(class)s]::text[],
        %(currency)s, %(difference)s, %(variance)s, %(escalated)s, %(own)s, %(note)s, %(period_day)s::date)
RETURNING break_id

-- name: waiting_changes
-- Whether a change of a closed day still waits for somebody.
SELECT EXISTS (SELECT FROM recon_breaks WHERE supplier = %(supplier)s::text AND day = %(day)s::date
               AND class = 'closed_period_changed' AND state IN ('open', 'proposed'))

-- name: account_break
-- In which day the break is accounted, as for every break of a closed day.
INSERT INTO recon_resolutions (break_id, run_id, action, actor, decision, reason, period_day)
VALUES (%(break_id)s::bigint, %(run_id)s::bigint, 'carried', %(actor)s::text, 'carried_on', %(reason)s::text,
        %(period_day)s::date)
