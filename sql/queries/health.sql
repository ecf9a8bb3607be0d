-- What the health checks ask of PostgreSQL. Everything is read; nothing waits.

-- name: server
SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'off'

-- name: connections
-- What may be used up, how many sessions it has, and how many it may have: the server, of which an ordinary role may have
-- a part (some are reserved, since 16 in two ways); this database and some logins, where they have a limit. The one with
-- the largest share; NULL, which is first, where none is allowed.
SELECT what, used, allowed
FROM (
    SELECT '' AS what, sum(numbackends)::int AS used,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS allowed
    FROM pg_stat_database
    UNION ALL
    SELECT ' of database ' || d.datname, s.numbackends, d.datconnlimit
    FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid
    WHERE d.datname = current_database() AND d.datconnlimit >= 0
    UNION ALL
    SELECT ' of role ' || r.rolname, (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid), r.rolconnlimit
    FROM pg_roles r
    WHERE r.rolname = ANY (%(logins)s) AND r.rolconnlimit >= 0 AND NOT r.rolsuper
) AS limits
ORDER BY used / nullif(allowed, 0)::float8 DESC
LIMIT 1

-- name: sees_all_sessions
-- Whether this role sees what sessions of other roles do.
SELECT pg_has_role('pg_read_all_stats', 'USAGE')

-- name: oldest_transaction
-- The oldest transaction that is open in this database, and whose it is. Query texts are not read: they hold data. A
-- prepared one is of no session, and is as old as its PREPARE at least. An autovacuum gives way by itself.
SELECT extract(epoch FROM clock_timestamp() - since)::float8, owner, count(*) OVER ()
FROM (
    SELECT xact_start, format('pid %s, %s, %s', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                              CASE backend_type WHEN 'client backend' THEN state ELSE backend_type END)
    FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
      AND backend_type NOT IN ('autovacuum worker', 'parallel worker')
    UNION ALL
    SELECT prepared, format('the prepared transaction %L of %s', gid, owner)
    FROM pg_prepared_xacts
    WHERE database = current_database()
) AS open(since, owner)
ORDER BY since
LIMIT 1

-- name: longest_lock_wait
-- The session that has waited longest for a lock, and who holds it up. pg_blocking_pids has 0 for a prepared
-- transaction. In pg_locks the locks of one have no pid, and one of them is on its own number.
SELECT extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start))::float8, a.pid,
       coalesce(a.application_name, ''), array_remove(pg_blocking_pids(a.pid), 0),
       array(SELECT p.gid
             FROM pg_prepared_xacts p
             JOIN pg_locks own ON own.transactionid = p.transaction AND own.granted AND own.pid IS NULL
             JOIN pg_locks h ON h.virtualtransaction = own.virtualtransaction AND h.granted AND h.pid IS NULL
             WHERE 0 = ANY (pg_blocking_pids(a.pid))
               AND (h.locktype, h.database, h.relation, h.transactionid)
                   IS NOT DISTINCT FROM (l.locktype, l.database, l.relation, l.transactionid)
             ORDER BY p.prepared),
       count(*) OVER ()
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND a.datname = current_database()
ORDER BY coalesce(l.waitstart, a.query_start)
LIMIT 1

-- name: changed_collations
-- What orders texts otherwise than when it was first used: the collation of the database, and others that an index uses.
-- Since then an index may be searched in an order that it does not have. A NULL was recorded by no version before 15.
WITH used AS MATERIALIZED (
    SELECT oid, collversion FROM pg_collation WHERE oid IN (SELECT unnest(indcollation::oid[]) FROM pg_index)
)
SELECT 'the collation of database ' || datname, datcollversion, pg_database_collation_actual_version(oid)
FROM pg_database
WHERE datname = current_database() AND datcollversion <> coalesce(pg_database_collation_actual_version(oid), '')
UNION ALL
SELECT 'collation ' || oid::regcollation, collversion, pg_collation_actual_version(oid)
FROM used
WHERE collversion <> coalesce(pg_collation_actual_version(oid), '')
ORDER BY 1

-- name: database_bytes
SELECT pg_database_size(current_database())

-- name: earlier_bytes
-- The database's size as an earlier run found it, a week ago at most, and how long ago that was.
SELECT value, extract(epoch FROM now() - checked_at)::float8
FROM health_results
WHERE check_name = %(name)s AND value IS NOT NULL AND checked_at > now() - interval '7 days'
ORDER BY checked_at
LIMIT 1

-- name: months
-- Every month of a table that is in PostgreSQL, and not in work: its tier, since when it is known, and its last failure.
SELECT month, tier, created_at, last_error
FROM archive_months
WHERE table_name = %(table)s AND tier IN ('hot', 'warm') AND (work_until IS NULL OR work_until < %(today)s)
ORDER BY month

-- name: failed_after_the_seal
-- Warm months whose partition is sealed, so that it takes no writes, and whose last move failed. A claim begins the steps
-- again and leaves the seal: `sealed_at` says whether it is there.
SELECT table_name, month, last_error
FROM archive_months
WHERE tier = 'warm' AND sealed_at IS NOT NULL AND last_error IS NOT NULL
ORDER BY month, table_name

-- name: newest_proof
-- When an archived month was last proved, how many are archived, and which month's last proof failed. A time that a wrong
-- clock has set into the future does not count. A day is left to clocks that differ.
SELECT max(verified_at) FILTER (WHERE verified_at < %(now)s + interval '1 day'), count(*) FILTER (WHERE tier IN ('cold', 'deep')),
       min(table_name || ' ' || to_char(month, 'YYYY-MM')) FILTER (WHERE last_error LIKE 'VerificationError%%')
FROM archive_months

-- name: unfinished
-- The oldest unfinished rows of the hot parent: how many are older than an instant (counted up to a limit), and the
-- oldest of all. The statuses are found by jumping from one to the next in the index, so that rows are read only of
-- those that are not terminal. A row without a status (NULL) is unfinished.
WITH RECURSIVE known(status) AS (
    SELECT min({status})::text FROM {hot}
    UNION ALL
    SELECT (SELECT min({status})::text FROM {hot} WHERE {status} > known.status) FROM known WHERE known.status IS NOT NULL
)
SELECT count(*) FILTER (WHERE old.created < %(before)s), min(old.created)
FROM (
    SELECT of_status.created
    FROM known CROSS JOIN LATERAL (
        SELECT {time} AS created FROM {hot} WHERE {status} = known.status ORDER BY {time} LIMIT %(limit)s) AS of_status
    WHERE known.status <> ALL (%(terminal)s)
    UNION ALL
    SELECT of_none.created
    FROM (SELECT {time} AS created FROM {hot} WHERE {status} IS NULL ORDER BY {time} LIMIT %(limit)s) AS of_none
) AS old

-- name: count_unfinished
-- Unfinished rows of one warm month, counted up to a limit; through the parent, which the API's role may read.
SELECT count(*)
FROM (SELECT FROM {warm} WHERE {time} >= %(lower)s AND {time} < %(upper)s
        AND ({status} = ANY (%(terminal)s)) IS NOT TRUE
      LIMIT %(limit)s) AS found

-- name: job_outcome
-- When a job last ended well, and since when this ledger could have had one that did.
SELECT (SELECT succeeded_at FROM job_outcomes WHERE job = %(job)s), (SELECT failed_at FROM job_outcomes WHERE job = %(job)s),
       (SELECT error FROM job_outcomes WHERE job = %(job)s), (SELECT min(created_at) FROM archive_months)

-- name: has_reconciliation
SELECT to_regclass('recon_runs') IS NOT NULL

-- name: unreconciled_days
-- Per supplier: the first day that it is known from, the last one that was reconciled, and each day up to `last` that is in no
-- closed period and whose newest run says nothing of the whole day: there is none, or it was made before the day was over, or
-- with another statement than the one that counts now. Days before `oldest` are not looked at.
WITH known AS (
    SELECT supplier, min(day) AS first_day
    FROM (SELECT supplier, day FROM recon_runs
          UNION ALL
          SELECT supplier, day FROM statement_files WHERE state = 'taken') AS seen
    WHERE supplier = ANY (%(suppliers)s::text[])
    GROUP BY supplier
), run AS (
    SELECT DISTINCT ON (supplier, day) supplier, day, started_at, figures -> 'statement' ->> 'key' AS object_key
    FROM recon_runs WHERE day >= %(oldest)s::date
    ORDER BY supplier, day, run_id DESC
), taken AS (
    SELECT DISTINCT ON (supplier, day) supplier, day, object_key
    FROM statement_files WHERE state = 'taken' AND day >= %(oldest)s::date
    ORDER BY supplier, day, file_id DESC
)
SELECT k.supplier, k.first_day, array(
    SELECT d.day::date
    FROM generate_series(greatest(k.first_day, %(oldest)s::date), %(last)s::date, interval '1 day') AS d(day)
    LEFT JOIN run AS r ON (r.supplier, r.day) = (k.supplier, d.day::date)
    LEFT JOIN taken AS t ON (t.supplier, t.day) = (k.supplier, d.day::date)
    WHERE NOT coalesce(r.started_at >= (d.day::date + 1)::timestamp AT TIME ZONE %(zone)s::text
                       AND coalesce(t.object_key = r.object_key, true), false)
      AND NOT EXISTS (SELECT FROM recon_periods AS p
                      WHERE p.supplier = k.supplier AND d.day::date BETWEEN p.first_day AND p.last_day)
    ORDER BY d.day)
FROM known AS k
ORDER BY k.supplier

-- name: record_success
INSERT INTO job_outcomes (job, succeeded_at) VALUES (%(job)s, now())
ON CONFLICT (job) DO UPDATE SET succeeded_at = excluded.succeeded_at, error = NULL

-- name: record_failure
INSERT INTO job_outcomes (job, failed_at, error) VALUES (%(job)s, now(), %(error)s)
ON CONFLICT (job) DO UPDATE SET failed_at = excluded.failed_at, error = excluded.error

-- name: store_results
-- All results of one run: how many were sent that were not there, and how many PostgreSQL stored. The same run stored again
-- changes nothing.
WITH stored AS (
    INSERT INTO health_results (checked_at, check_name, state, value, threshold, line, took_ms)
    SELECT %(checked_at)s, * FROM unnest(%(names)s::text[], %(states)s::text[], %(values)s::numeric[],
                                         %(thresholds)s::numeric[], %(lines)s::text[], %(took_ms)s::int[])
    ON CONFLICT DO NOTHING
    RETURNING check_name
)
SELECT (SELECT count(*) FROM unnest(%(names)s::text[]) AS sent(check_name)
        WHERE NOT EXISTS (SELECT FROM health_results AS r
                          WHERE r.checked_at = %(checked_at)s AND r.check_name = sent.check_name)),
       (SELECT count(*) FROM stored)

-- name: purge_results
DELETE FROM health_results WHERE checked_at < now() - make_interval(days => %(days)s)

-- name: note_schedules
-- Begin to judge schedules that are new.
INSERT INTO job_outcomes (job) SELECT unnest(%(jobs)s::text[]) ON CONFLICT (job) DO NOTHING

-- name: schedule_outcomes
-- When each job last ended well, since when that is known, and with what it failed after its last success.
SELECT job, succeeded_at, known_since,
       CASE WHEN succeeded_at IS NULL OR failed_at > succeeded_at THEN failed_at END,
       CASE WHEN succeeded_at IS NULL OR failed_at > succeeded_at THEN error END
FROM job_outcomes
WHERE job = ANY (%(jobs)s)
