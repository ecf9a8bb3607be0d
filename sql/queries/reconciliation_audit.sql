-- The audit chain: its events, and the records that they are compared with.

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

-- name: absence_records
SELECT absence_id, encode(sha256(convert_to(to_jsonb(a)::text, 'UTF8')), 'hex') AS record
FROM statement_absences a
WHERE %(absence_id)s::bigint[] IS NULL OR absence_id = ANY(%(absence_id)s::bigint[])
ORDER BY absence_id

-- name: withdrawal_records
SELECT withdrawal_id, encode(sha256(convert_to(to_jsonb(w)::text, 'UTF8')), 'hex') AS record
FROM recon_withdrawals w
WHERE %(withdrawal_id)s::bigint[] IS NULL OR withdrawal_id = ANY(%(withdrawal_id)s::bigint[])
ORDER BY withdrawal_id

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
) AS recorded
ORDER BY object_key, run_id DESC

-- name: contradicting_states
-- Breaks whose state or period is not what the last records about them say. Records that are older than the column do not
-- say to which day they moved a break: nothing is known of those.
SELECT b.break_id, b.state, b.period_day, b.state <> recorded.state AS wrong_state
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
) AS recorded
WHERE b.state <> recorded.state OR b.period_day <> CASE WHEN period.moved THEN period.period_day ELSE b.day END
ORDER BY b.break_id
LIMIT 100
