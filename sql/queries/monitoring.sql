-- What the monitoring endpoints ask PostgreSQL. Bounded and quick; a role needs pg_read_all_stats to see the sessions
-- and statements of other roles. Columns that only newer servers have are read through to_jsonb, which gives NULL.

-- name: server
SELECT current_setting('server_version'), pg_postmaster_start_time(), pg_database_size(current_database()),
       current_setting('max_connections')::integer,
       d.blks_hit::float8 / nullif(d.blks_hit + d.blks_read, 0), d.deadlocks, d.xact_rollback,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
FROM pg_stat_database d
WHERE d.datname = current_database()

-- name: connections
-- Client sessions of this database by state.
SELECT coalesce(state, 'unknown'), count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
GROUP BY 1
ORDER BY 1

-- name: longest_transaction
-- Seconds since the oldest open transaction of this database but this one began, or was prepared; NULL for none. As in
-- `oldest_transaction` of health.sql.
SELECT extract(epoch FROM clock_timestamp() - min(since))::float8
FROM (
    SELECT xact_start FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type NOT IN ('autovacuum worker', 'parallel worker')
    UNION ALL
    SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
) AS open(since)

-- name: locks_waiting
-- The sessions of this database that wait for a lock, the longest first. The database is that of the session:
-- a lock on a transaction has none, and a server has other databases.
SELECT c.relname::text, l.mode, extract(epoch FROM clock_timestamp() - l.waitstart)::float8,
       cardinality(pg_blocking_pids(l.pid))
FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database()
LEFT JOIN pg_class c ON c.oid = l.relation
WHERE NOT l.granted
ORDER BY l.waitstart NULLS LAST
LIMIT %(limit)s

-- name: table_sizes
-- Of the project's own tables, of everything in the schemas of the parents, and of partitions that are elsewhere.
SELECT s.relname::text, pg_table_size(s.relid), pg_indexes_size(s.relid), s.n_live_tup, s.n_dead_tup,
       coalesce(s.n_dead_tup::float8 / nullif(s.n_live_tup + s.n_dead_tup, 0), 0),
       greatest(s.last_vacuum, s.last_autovacuum), greatest(s.last_analyze, s.last_autoanalyze)
FROM pg_stat_user_tables s
WHERE s.schemaname = (current_schemas(false))[1]
   OR s.schemaname IN (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relkind = 'p' AND c.relname = ANY (%(parents)s))
   OR s.relid IN (SELECT inhrelid FROM pg_inherits JOIN pg_class p ON p.oid = inhparent WHERE p.relname = ANY (%(parents)s))
ORDER BY pg_total_relation_size(s.relid) DESC NULLS LAST, s.relname
LIMIT %(limit)s

-- name: index_sizes
-- Of the same tables.
SELECT s.indexrelname::text, s.relname::text, pg_relation_size(s.indexrelid), s.idx_scan
FROM pg_stat_user_indexes s
WHERE s.schemaname = (current_schemas(false))[1]
   OR s.schemaname IN (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relkind = 'p' AND c.relname = ANY (%(parents)s))
   OR s.relid IN (SELECT inhrelid FROM pg_inherits JOIN pg_class p ON p.oid = inhparent WHERE p.relname = ANY (%(parents)s))
ORDER BY 3 DESC NULLS LAST, 1
LIMIT %(limit)s

-- name: statements_schema
-- Where pg_stat_statements was created, and whether the server has loaded it: without that its view cannot be read.
SELECT n.nspname::text
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
  AND EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max')

-- name: slow_statements
-- Utility statements keep their values in the extension's texts (ALTER ROLE ... PASSWORD), so only kinds of statements
-- whose values it takes out are asked for. The texts of other roles are NULL without pg_read_all_stats.
SELECT s.query, s.calls, s.total_exec_time, s.mean_exec_time, s.max_exec_time, s.rows
FROM {schema}.pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND s.query ~* '^(\s|--[^\n]*\n)*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\M'
ORDER BY s.total_exec_time DESC
LIMIT %(limit)s

-- name: partitions
-- `schema` is that of the parents, as `ledger_schema` of sql/relations.py finds it.
-- The months of a table, the newest first: what the catalogue knows of each, joined to its partition where it has one.
-- `limit` of those up to `present` and, however many they are, those after it.
-- The count of an archived month is exact; of another it is what the server estimates.
WITH parts AS (
    SELECT c.oid, c.relname::text AS name, c.reltuples, p.tier,
           (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']+)'\)$$))[1]::timestamptz AS lower
    FROM (
        SELECT c.oid, CASE c.relname WHEN %(hot)s THEN 'hot' ELSE 'warm' END AS tier
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relname IN (%(hot)s, %(warm)s)
    ) AS p
    JOIN pg_inherits i ON i.inhparent = p.oid
    JOIN pg_class c ON c.oid = i.inhrelid
), months AS (
    SELECT coalesce(m.month, (p.lower AT TIME ZONE 'UTC')::date) AS month, coalesce(p.tier, m.tier) AS tier,
           p.oid, p.name, p.reltuples, m.row_count, m.object_bytes
    FROM (SELECT * FROM archive_months WHERE table_name = %(table)s) m
    -- A month that is archived has no partition: one that somebody made again is a line of its own.
    FULL JOIN parts p ON (p.lower AT TIME ZONE 'UTC')::date = CASE WHEN m.tier IN ('hot', 'warm') THEN m.month END
)
SELECT m.month, m.tier, m.name,
       CASE WHEN m.oid IS NULL THEN m.row_count WHEN s.n_live_tup > 0 THEN s.n_live_tup
            WHEN m.reltuples >= 0 THEN m.reltuples::bigint END,
       m.oid IS NULL AND m.row_count IS NOT NULL,
       CASE WHEN m.oid IS NULL THEN m.object_bytes ELSE pg_total_relation_size(m.oid) END,
       s.seq_scan, s.idx_scan,
       greatest((to_jsonb(s) ->> 'last_seq_scan')::timestamptz, (to_jsonb(s) ->> 'last_idx_scan')::timestamptz)
FROM (
    SELECT months.*, row_number() OVER (PARTITION BY month > %(present)s::date ORDER BY month DESC) AS place
    FROM months WHERE %(before)s::date IS NULL OR month < %(before)s::date
) m
LEFT JOIN pg_stat_user_tables s ON s.relid = m.oid
WHERE m.month > %(present)s::date OR m.place <= %(limit)s
ORDER BY m.month DESC

-- name: pruning
-- How the scans of a table fall on its partitions.
SELECT count(*), count(*) FILTER (WHERE scans > 0), coalesce(sum(scans), 0)::bigint, (avg(scans) / nullif(max(scans), 0))::float8
FROM (
    SELECT coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) AS scans
    FROM pg_inherits i LEFT JOIN pg_stat_user_tables s ON s.relid = i.inhrelid
    WHERE i.inhparent IN (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relname IN (%(hot)s, %(warm)s))
) AS partitions

-- name: months_by_tier
SELECT tier, count(*) FROM archive_months GROUP BY tier ORDER BY tier

-- name: public_log
-- Events of the public log that are not published, the age of the oldest in seconds, and how many are published.
SELECT count(e.event_id), coalesce(extract(epoch FROM clock_timestamp() - min(e.recorded_at)), 0)::float8,
       coalesce(max(s.published_size), 0)
FROM installation i
LEFT JOIN log_state s USING (installation_id)
LEFT JOIN log_events e ON e.installation_id = i.installation_id AND e.replaced_at IS NULL
    AND (e.entry_index IS NULL OR e.entry_index >= coalesce(s.published_size, 0))

-- name: open_alerts
SELECT severity, count(*) FROM alerts WHERE state = 'open' GROUP BY severity ORDER BY severity

-- name: deletions
-- Deletions without a certificate.
SELECT count(*) FROM deletions WHERE state <> 'done'

-- name: open_requests
-- The requests to delete months that are neither refused nor revoked, and the time: whose approvals count is decided where
-- all names are compared. One that has a deletion is over its grace period.
SELECT r.approvals, r.grace_days, r.requested_at, jsonb_array_length(r.plan),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(d.action, d.actor, d.account, d.reason, d.decided_at) ORDER BY d.decision_id), '[]')
        FROM deletion_decisions d WHERE d.request_id = r.request_id),
       now()
FROM deletion_requests r
WHERE NOT EXISTS (SELECT FROM deletion_decisions d WHERE d.request_id = r.request_id AND d.action <> 'approved')
  AND NOT EXISTS (SELECT FROM deletions x WHERE x.request_id = r.request_id)

-- name: month_ends
-- Parts of months in the deep tier, and their bytes; months that were deleted.
SELECT (SELECT count(*) FROM archive_months WHERE tier = 'deep'),
       (SELECT coalesce(sum(object_bytes), 0) FROM archive_months WHERE tier = 'deep'),
       (SELECT count(DISTINCT (table_name, month)) FROM archive_months WHERE tier = 'deleted' AND step = 'idle')
