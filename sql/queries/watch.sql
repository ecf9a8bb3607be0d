-- The watch over transactions. {ledger} is a table's view over hot and warm, which names hot first, as movers lock.
-- {rows} stands for the rows of it that count: no fees, nothing that failed or was cancelled.
--
-- A rule is one SELECT of subject, window_key, at and evidence; `keep` stores what it finds and gives back what is new.
-- lower and upper are the slice's ends. Where a rule looks at older rows too, the bounds are said once more in terms
-- of them, so that partitions are left out when the statement is planned.

-- name: try_lock
SELECT pg_try_advisory_lock(7303016)

-- name: unlock
SELECT pg_advisory_unlock(7303016)

-- name: limit_statements
SELECT set_config('statement_timeout', %(timeout)s, true)

-- name: start
-- Where the first run of all begins; any other finds its line.
INSERT INTO watch_progress (table_name, settled_until) VALUES (%(table)s, %(since)s) ON CONFLICT DO NOTHING

-- name: progress
-- A seen_xid that this server has not reached yet is another server's, as after a restore; one that is further back than
-- `age` can compute is of no use. Without it everything from settled_until on counts as not seen.
SELECT settled_until, baseline_until, CASE WHEN usable THEN seen_until ELSE settled_until END,
       CASE WHEN usable THEN seen_xid::text END
FROM watch_progress, LATERAL (
    SELECT coalesce(xmax - seen_xid::text::bigint BETWEEN 0 AND 2000000000, false) AS usable
    FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax) AS now
) AS checked
WHERE table_name = %(table)s

-- name: horizon
-- The oldest transaction that is under way: what older ones have stored is visible to every statement from here on.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text

-- name: note_horizon
-- `at` was read from the clock before this statement, which takes a number of its own: every transaction that took one
-- before has a lower one, and one that gets a higher number stores its rows later than `at`.
INSERT INTO watch_horizons (at, taken_xid) VALUES (%(at)s, pg_current_xact_id())
ON CONFLICT (at) DO UPDATE SET taken_xid = excluded.taken_xid

-- name: committed_until
-- The newest noted instant before which every transaction has ended; NULL while one is under way since before all of them.
SELECT max(at) FROM watch_horizons
WHERE taken_xid < pg_snapshot_xmin(pg_current_snapshot()) AND at <= %(at)s

-- name: forget_horizons
-- The older ones say no more than the newest that is certain; those with a higher number are another server's. The
-- newest before the oldest transaction stays, however long that is open: the feed asks for it (`feed_horizon`).
DELETE FROM watch_horizons
WHERE at < %(until)s AND at <> (SELECT coalesce(max(at) FILTER (WHERE taken_xid < pg_snapshot_xmin(pg_current_snapshot())),
                                                min(at)) FROM watch_horizons)
   OR taken_xid >= pg_snapshot_xmax(pg_current_snapshot())

-- name: advance
-- What was seen grows, and is as of the first slice of the run; a clock that went back changes nothing of it.
UPDATE watch_progress
SET settled_until = greatest(settled_until, %(settled_until)s), slices = slices + 1, evaluated_at = %(now)s,
    seen_xid = CASE WHEN seen_until > %(upper)s THEN seen_xid ELSE %(horizon)s::xid8 END,
    seen_until = greatest(seen_until, %(upper)s)
WHERE table_name = %(table)s

-- name: create_slice
CREATE TEMPORARY TABLE pg_temp.watch_slice (
    id uuid NOT NULL, user_id varchar(64) NOT NULL, wallet_id varchar(64) NOT NULL, type varchar(16) NOT NULL,
    amount numeric(18, 2) NOT NULL, currency varchar(3) NOT NULL, created_at timestamptz(3) NOT NULL
) ON COMMIT DROP

-- name: rows
-- The rows that count. The types are named so that idx_*_type_created finds a stretch of time.
SELECT id, user_id, wallet_id, type, amount, currency, created_at
FROM {ledger}
WHERE type = ANY (%(every_type)s) AND status <> ALL (%(void_statuses)s)

-- name: take_slice
-- The rows that were not evaluated before: those created from seen_until on, and earlier ones whose transaction was under
-- way then or came later. With such a late row come all rows of its user and of its wallet, which it may complete.
-- Subtransactions have higher numbers than their transaction, so they are never taken for older than it.
WITH candidates AS MATERIALIZED (
    SELECT r.*, r.created_at >= %(seen_until)s AS is_new
    FROM (
        SELECT id, user_id, wallet_id, type, amount, currency, created_at, xmin
        FROM {hot} WHERE type = ANY (%(every_type)s) AND status <> ALL (%(void_statuses)s)
        UNION ALL
        SELECT id, user_id, wallet_id, type, amount, currency, created_at, xmin
        FROM {warm} WHERE type = ANY (%(every_type)s) AND status <> ALL (%(void_statuses)s)
    ) AS r
    WHERE r.created_at >= %(lower)s AND r.created_at < %(upper)s
), late AS MATERIALIZED (
    SELECT user_id, wallet_id FROM candidates WHERE NOT is_new AND age(xmin) <= age(%(seen_xid)s::text::xid8::xid)
)
INSERT INTO pg_temp.watch_slice
SELECT id, user_id, wallet_id, type, amount, currency, created_at FROM candidates
WHERE is_new OR user_id IN (SELECT user_id FROM late) OR wallet_id IN (SELECT wallet_id FROM late)

-- name: keep
-- The last column says whether PostgreSQL stored the finding. One run at a time: what it finds nobody else stores meanwhile.
WITH found AS MATERIALIZED (
    {found}
), stored AS (
    INSERT INTO watch_findings (rule, table_name, subject, window_key, at, evidence)
    SELECT %(rule)s, %(table)s, subject, window_key, at, evidence FROM found
    ON CONFLICT DO NOTHING
    RETURNING subject, window_key, at, evidence
)
SELECT subject, window_key, at, evidence, true FROM stored
UNION ALL
SELECT subject, window_key, at, evidence, false FROM found AS f
WHERE NOT EXISTS (SELECT FROM stored AS s WHERE (s.subject, s.window_key) = (f.subject, f.window_key))
  AND NOT EXISTS (SELECT FROM watch_findings AS w
                  WHERE (w.rule, w.table_name, w.subject, w.window_key)
                      = (%(rule)s, %(table)s, f.subject, f.window_key))

-- name: single
SELECT s.user_id AS subject, s.id::text AS window_key, s.created_at AS at,
       jsonb_build_object('row_ids', jsonb_build_array(s.id), 'type', s.type, 'currency', s.currency,
                          'amount', s.amount::text, 'threshold', least_.amount) AS evidence
FROM pg_temp.watch_slice s
JOIN jsonb_each_text(%(amounts)s::jsonb) AS least_(currency, amount) ON least_.currency = s.currency
WHERE s.amount >= least_.amount::numeric AND s.type = ANY (%(types)s)

-- name: daily
-- A day that was found before is not summed again, and the rows of one that is below the amount are not sorted.
SELECT p.user_id AS subject, p.currency || ' ' || p.day AS window_key, d.at,
       jsonb_build_object('row_ids', to_jsonb(largest.row_ids), 'currency', p.currency, 'day', p.day,
                          'count', d.count, 'total', d.total::text, 'threshold', p.amount) AS evidence
FROM (
    SELECT n.user_id, n.currency, n.day, least_.amount
    FROM (
        SELECT DISTINCT user_id, currency, (created_at AT TIME ZONE %(zone)s)::date AS day
        FROM pg_temp.watch_slice WHERE type = ANY (%(types)s)
    ) AS n
    JOIN jsonb_each_text(%(amounts)s::jsonb) AS least_(currency, amount) ON least_.currency = n.currency
    WHERE NOT EXISTS (
        SELECT FROM watch_findings f
        WHERE f.rule = %(rule)s AND f.table_name = %(table)s AND f.subject = n.user_id
          AND f.window_key = n.currency || ' ' || n.day)
    OFFSET 0
) AS p
CROSS JOIN LATERAL (
    SELECT sum(r.amount) AS total, count(*) AS count, max(r.created_at) AS at
    FROM {rows} AS r
    WHERE r.user_id = p.user_id AND r.currency = p.currency AND r.type = ANY (%(types)s)
      AND r.created_at >= p.day::timestamp AT TIME ZONE %(zone)s
      AND r.created_at < (p.day + 1)::timestamp AT TIME ZONE %(zone)s
      AND r.created_at >= %(lower)s::timestamptz - interval '25 hours' AND r.created_at < %(upper)s
) AS d
CROSS JOIN LATERAL (
    SELECT (array_agg(r.id ORDER BY r.amount DESC, r.id))[:20] AS row_ids
    FROM {rows} AS r
    WHERE d.total >= p.amount::numeric
      AND r.user_id = p.user_id AND r.currency = p.currency AND r.type = ANY (%(types)s)
      AND r.created_at >= p.day::timestamp AT TIME ZONE %(zone)s
      AND r.created_at < (p.day + 1)::timestamp AT TIME ZONE %(zone)s
      AND r.created_at >= %(lower)s::timestamptz - interval '25 hours' AND r.created_at < %(upper)s
) AS largest
WHERE d.total >= p.amount::numeric

-- name: cash_threshold
SELECT s.user_id AS subject, s.id::text AS window_key, s.created_at AS at,
       jsonb_build_object('row_ids', jsonb_build_array(s.id), 'type', s.type, 'currency', s.currency,
                          'amount', s.amount::text, 'lowest', lowest.amount, 'highest', highest.amount) AS evidence
FROM pg_temp.watch_slice s
JOIN jsonb_each_text(%(lowest)s::jsonb) AS lowest(currency, amount) ON lowest.currency = s.currency
JOIN jsonb_each_text(%(highest)s::jsonb) AS highest(currency, amount) ON highest.currency = s.currency
WHERE s.amount BETWEEN lowest.amount::numeric AND highest.amount::numeric AND s.type = ANY (%(types)s)

-- name: structuring
-- The day of the finding is that of the row that made it enough; the 24 hours before it may reach into another.
SELECT DISTINCT ON (s.user_id, s.currency, s.day)
       s.user_id AS subject, s.currency || ' ' || s.day AS window_key, s.created_at AS at,
       jsonb_build_object('row_ids', to_jsonb(d.row_ids), 'currency', s.currency, 'count', d.count,
                          'total', d.total::text, 'lowest', s.lowest, 'highest', s.highest,
                          'threshold', %(count)s::integer) AS evidence
FROM (
    SELECT w.*, lowest.amount AS lowest, highest.amount AS highest,
           (w.created_at AT TIME ZONE %(zone)s)::date AS day
    FROM pg_temp.watch_slice w
    JOIN jsonb_each_text(%(lowest)s::jsonb) AS lowest(currency, amount) ON lowest.currency = w.currency
    JOIN jsonb_each_text(%(highest)s::jsonb) AS highest(currency, amount) ON highest.currency = w.currency
    WHERE w.amount BETWEEN lowest.amount::numeric AND highest.amount::numeric AND w.type = ANY (%(types)s)
) AS s
CROSS JOIN LATERAL (
    SELECT count(*) AS count, sum(r.amount) AS total, (array_agg(r.id ORDER BY r.created_at DESC, r.id))[:20] AS row_ids
    FROM {rows} AS r
    WHERE r.user_id = s.user_id AND r.currency = s.currency AND r.type = ANY (%(types)s)
      AND r.amount BETWEEN s.lowest::numeric AND s.highest::numeric
      AND r.created_at > s.created_at - interval '24 hours' AND r.created_at <= s.created_at
      AND r.created_at > %(lower)s::timestamptz - interval '24 hours' AND r.created_at < %(upper)s
) AS d
WHERE d.count >= %(count)s::integer
ORDER BY s.user_id, s.currency, s.day, s.created_at, s.id

-- name: velocity
-- At each row of the slice: how many of the user's the window that ends there holds. A stretch of time counts once.
SELECT DISTINCT ON (c.user_id, c.stretch)
       c.user_id AS subject, c.stretch::text AS window_key, c.created_at AS at,
       jsonb_build_object('row_ids', jsonb_build_array(c.id), 'count', c.count, 'minutes', %(minutes)s::integer,
                          'threshold', %(count)s::integer) AS evidence
FROM (
    SELECT r.user_id, r.id, r.created_at,
           date_bin(make_interval(mins => %(minutes)s::integer), r.created_at, '2000-01-01Z'::timestamptz) AS stretch,
           count(*) OVER (PARTITION BY r.user_id ORDER BY r.created_at
               RANGE BETWEEN make_interval(mins => %(minutes)s::integer) - interval '1 ms' PRECEDING AND CURRENT ROW
           ) AS count
    FROM (SELECT DISTINCT user_id FROM pg_temp.watch_slice) AS p
    JOIN {rows} AS r ON r.user_id = p.user_id
    WHERE r.created_at > %(lower)s::timestamptz - make_interval(mins => %(minutes)s::integer)
      AND r.created_at < %(upper)s
) AS c
WHERE c.count >= %(count)s::integer AND c.created_at >= %(lower)s
ORDER BY c.user_id, c.stretch, c.created_at, c.id

-- name: in_and_out
-- For each larger amount that came into a wallet before money left it: how much left within the minutes after.
SELECT i.wallet_id AS subject, i.id::text AS window_key, o.at,
       jsonb_build_object('row_ids', jsonb_build_array(i.id) || to_jsonb(o.row_ids), 'user_id', i.user_id,
                          'currency', i.currency, 'incoming', i.amount::text, 'outgoing', o.total::text,
                          'count', o.count, 'minutes', %(minutes)s::integer, 'percent', %(percent)s::integer) AS evidence
FROM (
    SELECT r.*
    FROM (
        SELECT wallet_id, currency, min(created_at) AS first_at, max(created_at) AS last_at
        FROM pg_temp.watch_slice WHERE type = ANY (%(outgoing)s) GROUP BY wallet_id, currency
    ) AS w
    JOIN jsonb_each_text(%(amounts)s::jsonb) AS least_(currency, amount) ON least_.currency = w.currency
    JOIN {rows} AS r ON r.wallet_id = w.wallet_id AND r.currency = w.currency
    WHERE r.type = ANY (%(incoming)s) AND r.amount >= least_.amount::numeric
      AND r.created_at BETWEEN w.first_at - make_interval(mins => %(minutes)s::integer) AND w.last_at
      AND r.created_at >= %(lower)s::timestamptz - make_interval(mins => %(minutes)s::integer)
      AND r.created_at < %(upper)s
) AS i
CROSS JOIN LATERAL (
    SELECT sum(r.amount) AS total, count(*) AS count, max(r.created_at) AS at,
           (array_agg(r.id ORDER BY r.created_at, r.id))[:19] AS row_ids
    FROM {rows} AS r
    WHERE r.wallet_id = i.wallet_id AND r.currency = i.currency AND r.type = ANY (%(outgoing)s)
      AND r.created_at BETWEEN i.created_at AND i.created_at + make_interval(mins => %(minutes)s::integer)
      AND r.created_at >= %(lower)s::timestamptz - make_interval(mins => %(minutes)s::integer)
      AND r.created_at < %(upper)s
) AS o
WHERE o.total * 100 >= i.amount * %(percent)s::integer

-- name: dormant
-- The key is the row before the silence, so one silence ends once, whichever row of the next day is seen first.
-- LIMIT keeps both look-ups on idx_*_user_created: neither may become a scan of the days between.
SELECT f.user_id AS subject, earlier.id::text AS window_key, f.created_at AS at,
       jsonb_build_object('row_ids', jsonb_build_array(earlier.id, f.id), 'last_active', earlier.created_at,
                          'type', f.type, 'amount', f.amount::text, 'currency', f.currency,
                          'threshold_days', %(days)s::integer) AS evidence
FROM (
    SELECT DISTINCT ON (user_id) user_id, id, type, amount, currency, created_at
    FROM pg_temp.watch_slice ORDER BY user_id, created_at, id
) AS f
LEFT JOIN LATERAL (
    SELECT true AS found FROM {rows} AS r
    WHERE r.user_id = f.user_id AND r.created_at < f.created_at
      AND r.created_at > f.created_at - make_interval(hours => 24 * %(days)s::integer)
      AND r.created_at > %(lower)s::timestamptz - make_interval(hours => 24 * %(days)s::integer)
      AND r.created_at < %(upper)s
    LIMIT 1
) AS recent ON true
CROSS JOIN LATERAL (
    SELECT r.id, r.created_at FROM {rows} AS r
    WHERE r.user_id = f.user_id AND recent.found IS NULL
      AND r.created_at <= f.created_at - make_interval(hours => 24 * %(days)s::integer)
      AND r.created_at < %(upper)s::timestamptz - make_interval(hours => 24 * %(days)s::integer)
    ORDER BY r.created_at DESC, r.id DESC
    LIMIT 1
) AS earlier

-- name: unusual
-- The mean is that of the days which ended before the slice's.
SELECT s.user_id AS subject, s.id::text AS window_key, s.created_at AS at,
       jsonb_build_object('row_ids', jsonb_build_array(s.id), 'type', s.type, 'currency', s.currency,
                          'amount', s.amount::text, 'mean', round(b.mean, 2)::text, 'samples', b.samples,
                          'factor', %(factor)s::text) AS evidence
FROM pg_temp.watch_slice s
JOIN jsonb_each_text(%(amounts)s::jsonb) AS least_(currency, amount) ON least_.currency = s.currency
JOIN (
    SELECT type, currency, sum(samples) AS samples, sum(total) / sum(samples) AS mean
    FROM watch_baselines
    WHERE table_name = %(table)s AND day < (%(lower)s::timestamptz AT TIME ZONE %(zone)s)::date
      AND day >= (%(lower)s::timestamptz AT TIME ZONE %(zone)s)::date - %(baseline_days)s::integer
    GROUP BY type, currency
) AS b ON b.type = s.type AND b.currency = s.currency
WHERE b.samples >= %(minimum_sample)s AND s.amount >= least_.amount::numeric
  AND s.amount > b.mean * %(factor)s::numeric

-- name: sum_day
-- The sums of one ended day: how many there are, and how many PostgreSQL stored. Safe to run again.
WITH sums AS MATERIALIZED (
    SELECT r.type, r.currency, count(*) AS samples, sum(r.amount) AS total
    FROM {rows} AS r
    WHERE r.created_at >= %(begin)s AND r.created_at < %(end)s
    GROUP BY r.type, r.currency
), stored AS (
    INSERT INTO watch_baselines (table_name, day, type, currency, samples, total)
    SELECT %(table)s, %(day)s::date, type, currency, samples, total FROM sums
    ON CONFLICT (table_name, day, type, currency) DO UPDATE SET samples = excluded.samples, total = excluded.total
    RETURNING type
)
SELECT (SELECT count(*) FROM sums), (SELECT count(*) FROM stored)

-- name: forget_days
DELETE FROM watch_baselines WHERE table_name = %(table)s AND day < %(oldest)s

-- name: summed
UPDATE watch_progress SET baseline_until = %(day)s WHERE table_name = %(table)s

-- name: findings_of_month
-- The findings whose last row is of a month, or that name rows of it, with the ids of those: an id contains its month.
-- `at` is the time of the last row, so an earlier finding names none.
SELECT f.rule, f.subject, f.window_key, named.ids
FROM watch_findings f
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(id), '{}') FROM jsonb_array_elements_text(f.evidence -> 'row_ids') AS id
    WHERE id::uuid >= %(first_id)s AND id::uuid < %(end_id)s
) AS named (ids)
WHERE f.table_name = %(table)s AND f.at >= %(lower)s AND (f.at < %(upper)s OR named.ids <> '{}')

-- name: forget_findings
DELETE FROM watch_findings f
USING unnest(%(rules)s::text[], %(subjects)s::text[], %(windows)s::text[]) AS gone (rule, subject, window_key)
WHERE (f.rule, f.table_name, f.subject, f.window_key) = (gone.rule, %(table)s, gone.subject, gone.window_key)
