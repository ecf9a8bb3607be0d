-- What the API asks of a tiered table. Braces are filled in from its TieredTable: {hot} and {warm} are its parents,
-- {id} and {time} its key and time columns, {columns} the columns of a row. {first} and {end} are the ends of all months:
-- a row of no month, which only a DEFAULT partition has, is in no answer.
--
-- Every statement here that reads rows names the hot parent before the warm one: that is the order in which a mover
-- locks them, and both locks are held before the statement takes its snapshot.

-- name: store
-- One flush of the API: claims each request's idempotency key and stores the rows of those that got theirs. One
-- statement, so one transaction. Gives back the claimed keys; a request that is not among them was answered before.
-- What PostgreSQL stored is compared with what was sent: in number, and value by value where the database has a trigger
-- that may change a row (tgtype: before each row of an INSERT), or the table a column that rounds (as `rounding` in
-- catalog.sql). Where they differ a text is cast to a number, for a statement can raise an error of its own by nothing
-- else; that rolls back keys and rows.
-- Rows whose time is longer ago than the feed allows are refused, by PostgreSQL's clock and in the same way: a page of
-- the feed has gone past them (`feed_horizon`). The transaction takes its number first and then reads the clock: a reader
-- that does not see the number yet has looked before that.
-- Every array comes as the text of its literal (sql/arrays.py).
-- Keys are claimed in order, so that two flushes can wait for each other but never in a circle.
WITH request AS (
    SELECT * FROM unnest(%(client_ids)s::text::text[], %(keys)s::text::text[], %(fingerprints)s::text::bytea[],
                         %(status_codes)s::text::smallint[], %(responses)s::text::bytea[], %(row_counts)s::text::int[])
        AS r(client_id, key, fingerprint, status_code, response, rows)
), claimed AS (
    INSERT INTO idempotency_keys (client_id, key, fingerprint, status_code, response)
    SELECT client_id, key, fingerprint, status_code, response FROM request
    WHERE CASE WHEN pg_current_xact_id() IS NULL THEN false
               WHEN %(oldest)s::text::timestamptz < clock_timestamp() - make_interval(secs => %(delay_s)s::float8)
               THEN format('{stored_late}, %%s', %(oldest)s::text)::boolean ELSE true END
    ORDER BY client_id, key
    ON CONFLICT DO NOTHING
    RETURNING client_id, key
), stored AS (
    INSERT INTO {hot} ({columns})
    SELECT {values} FROM unnest(%(row_keys)s::text::text[], {arrays}) AS given(row_key, {columns})
    JOIN claimed ON claimed.client_id = given.client_id AND claimed.key = given.row_key
    RETURNING {columns}
), tally AS (
    SELECT (SELECT coalesce(sum(rows), 0) FROM request JOIN claimed USING (client_id, key)) AS sent,
           (SELECT count(*) FROM stored) AS stored
)
SELECT client_id, key, CASE WHEN sent <> stored OR (
    (EXISTS (SELECT FROM pg_trigger WHERE tgtype & 7 = 7 AND NOT tgisinternal AND tgname <> 'treasury_sealed_rows')
     OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = {hot_name}::regclass AND NOT attisdropped
                AND (atttypid = 'numeric'::regtype AND (((atttypmod - 4) & 2047) # 1024) - 1024 < 2
                     OR atttypid = 'timestamptz'::regtype AND atttypmod BETWEEN 0 AND 2)))
    AND EXISTS (
        SELECT {values} FROM unnest(%(row_keys)s::text::text[], {arrays}) AS given(row_key, {columns})
        JOIN claimed ON claimed.client_id = given.client_id AND claimed.key = given.row_key
        EXCEPT ALL SELECT {columns} FROM stored)
) THEN format('{not_stored}, %%s of %%s', stored, sent)::integer END
FROM claimed, tally

-- name: find
-- One row by its id among the rows of a month, and the archived parts of the month. Always one line: NULLs where there
-- is no such row. The bounds keep the search to one partition.
SELECT m.parts, found.*
FROM (SELECT 1) AS line
LEFT JOIN (
    SELECT 'hot' AS tier, {columns} FROM {hot} WHERE {id} = %(id)s AND {time} >= %(lower)s AND {time} < %(upper)s
    UNION ALL
    SELECT 'warm' AS tier, {columns} FROM {warm} WHERE {id} = %(id)s AND {time} >= %(lower)s AND {time} < %(upper)s
) AS found ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(object_key, columns) ORDER BY part) AS parts
    FROM archive_months
    WHERE table_name = %(table)s AND month = %(month)s AND tier IN ('cold', 'deep')
) AS m ON true
LIMIT 1

-- name: certificates
-- The certificates of the deleted parts of a month; NULL without one.
SELECT array_agg(DISTINCT certificate ORDER BY certificate)
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND tier = 'deleted'

-- name: find_anywhere
-- One row by its id in every partition: by the index of each.
SELECT * FROM (
    SELECT 'hot' AS tier, {columns} FROM {hot} WHERE {id} = %(id)s AND {time} >= {first} AND {time} < {end}
    UNION ALL
    SELECT 'warm' AS tier, {columns} FROM {warm} WHERE {id} = %(id)s AND {time} >= {first} AND {time} < {end}
) AS found
LIMIT 1

-- name: unproved_months
-- The archived months whose keys are not known to be of the month, newest first: a row may be in any of them.
SELECT month, object_key, columns
FROM archive_months
WHERE table_name = %(table)s AND tier IN ('cold', 'deep') AND NOT keys_tell_month
ORDER BY month DESC, part

-- name: missing_months
-- The first month of a range that the catalogue places in PostgreSQL and no parent has: detached or dropped by hand.
SELECT m.month
FROM archive_months m
WHERE m.table_name = %(table)s AND m.tier IN ('hot', 'warm')
  AND (%(first_month)s::date IS NULL OR m.month >= %(first_month)s)
  AND (%(last_month)s::date IS NULL OR m.month <= %(last_month)s)
  AND NOT EXISTS (
    SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent IN ({hot_name}::regclass, {warm_name}::regclass) AND NOT i.inhdetachpending
      AND pg_get_expr(c.relpartbound, c.oid) = format($$FOR VALUES FROM ('%%s 00:00:00+00') TO ('%%s 00:00:00+00')$$,
                                                      m.month, (m.month + interval '1 month')::date))
ORDER BY m.month
LIMIT 1

-- name: fields
-- The numbers of the columns that the table has now; as in sql/fields.py, by attribute, or by name where the numbers are
-- those of another relation.
SELECT a.attname::text, f.field_id
FROM pg_attribute a JOIN archive_columns f ON f.table_name = %(table)s AND f.dropped_at IS NULL
CROSS JOIN (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS here(oid)
WHERE a.attrelid = {hot_name}::regclass AND a.attnum > 0 AND NOT a.attisdropped
  AND CASE WHEN (f.database_oid, f.relation_oid) = (here.oid, a.attrelid::bigint) THEN f.attribute = a.attnum
           ELSE f.name = a.attname END

-- name: lock_parents
-- Holds off every mover until the transaction ends; writers and other readers do not notice.
LOCK TABLE ONLY {hot}, ONLY {warm} IN ACCESS SHARE MODE

-- name: cold_months
-- The archived months that may hold rows of a page, newest first.
SELECT month, object_key, columns
FROM archive_months
WHERE table_name = %(table)s AND tier IN ('cold', 'deep')
  AND (%(first_month)s::date IS NULL OR month >= %(first_month)s)
  AND (%(last_month)s::date IS NULL OR month <= %(last_month)s)
ORDER BY month DESC, part

-- name: page
-- The newest rows that fulfil the conditions, of hot and warm. Each branch stops at the limit by itself.
SELECT * FROM (
    (SELECT {columns} FROM {hot} WHERE {conditions} AND {time} >= {first} AND {time} < {end}
     ORDER BY {time} DESC, {id} DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT {columns} FROM {warm} WHERE {conditions} AND {time} >= {first} AND {time} < {end}
     ORDER BY {time} DESC, {id} DESC LIMIT %(limit)s)
) AS page
ORDER BY {time} DESC, {id} DESC
LIMIT %(limit)s

-- name: feed_horizon
-- The instant before which every row that the API stores is visible to the statements that follow in this transaction,
-- and which no later row will be older than. A row is at most delay_s older than the moment when its transaction stores
-- it (`store` makes sure). So what is not visible yet belongs to a transaction that has a number now, and is at most
-- delay_s older than the start of that; or to one that stores later than this transaction began.
-- Some transactions do not show their start: that of a session with track_activities off, and a prepared one, of which
-- PostgreSQL knows only when it was prepared. It took its number after the newest instant that the watch noted with a
-- lower one (`note_horizon`). A session that is idle took its number after it was looked at. Prepared transactions are
-- looked for after the sessions: one that is just being prepared is seen as the one or as the other.
-- NULL where other sessions do not show what they do (second column: false), and where no instant was noted before the
-- number of a transaction that does not show its start. There is no horizon then.
WITH session AS MATERIALIZED (
    SELECT backend_xid AS number, xact_start AS since, state, backend_type IS NULL AND usesysid IS NOT NULL AS hidden
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
), prepared AS MATERIALIZED (
    SELECT p.number
    FROM (SELECT count(*) FROM session) AS looked(sessions)
    CROSS JOIN LATERAL (SELECT transaction AS number FROM pg_prepared_xacts
                        WHERE database = current_database() AND looked.sessions >= 0 OFFSET 0) AS p
), startless AS MATERIALIZED (
    SELECT number FROM session WHERE number IS NOT NULL AND since IS NULL AND state IS DISTINCT FROM 'idle'
    UNION ALL
    SELECT number FROM prepared
), noted AS MATERIALIZED (
    SELECT (SELECT max(h.at) FROM watch_horizons AS h
            WHERE pg_snapshot_xmax(pg_current_snapshot())::text::bigint - h.taken_xid::text::bigint BETWEEN 0 AND 2000000000
              AND age(h.taken_xid::xid) > age(startless.number)) AS since
    FROM startless
), other AS (
    SELECT least((SELECT min(since) FROM session WHERE number IS NOT NULL), (SELECT min(since) FROM noted)) AS since,
           EXISTS (SELECT FROM noted WHERE since IS NULL) AS unknown,
           current_setting('track_activities')::boolean AND NOT EXISTS (SELECT FROM session WHERE hidden) AS seen
)
SELECT CASE WHEN seen AND NOT unknown
       THEN date_trunc('milliseconds', least(now(), since) - make_interval(secs => %(delay_s)s::float8)) END, seen
FROM other

-- name: newest_archived
-- The newest month from a first one on that is not in PostgreSQL any more.
SELECT max(month) FROM archive_months
WHERE table_name = %(table)s AND tier NOT IN ('hot', 'warm') AND month >= %(first_month)s

-- name: feed
-- The rows behind a place and before the horizon, oldest first, by the index of the key: it begins with the time. Rows of
-- other clients are passed over, so the reading ends after so many rows, and says how far it came. One line at least.
WITH passed AS MATERIALIZED (
    SELECT {columns} FROM {hot}
    WHERE {time} >= %(since)s AND {time} < %(until)s AND {id} > %(after)s AND {id} < %(before)s
    UNION ALL
    SELECT {columns} FROM {warm}
    WHERE {time} >= %(since)s AND {time} < %(until)s AND {id} > %(after)s AND {id} < %(before)s
    ORDER BY {id} LIMIT %(most)s
)
SELECT ends.*, found.*
FROM (SELECT (SELECT count(*) FROM passed), (SELECT {id} FROM passed ORDER BY {id} DESC LIMIT 1)) AS ends(count, last)
LEFT JOIN (SELECT * FROM passed WHERE {conditions} ORDER BY {id} LIMIT %(limit)s) AS found ON true
ORDER BY found.{id}

-- name: change_status
-- Moves a row on if its status may be moved from; of two callers at once only one finds it there. A status that a
-- trigger changed raises an error, as in `store`. The client is compared by its bytes, whatever the column's collation.
WITH hot AS (
    UPDATE {hot} SET {status} = %(status)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND client_id COLLATE "C" = %(client_id)s AND {status} = ANY(%(movable)s)
    RETURNING {columns}
), warm AS (
    UPDATE {warm} SET {status} = %(status)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND client_id COLLATE "C" = %(client_id)s AND {status} = ANY(%(movable)s)
    RETURNING {columns}
)
SELECT * FROM (SELECT * FROM hot UNION ALL SELECT * FROM warm) AS moved
WHERE CASE WHEN {status} = %(status)s THEN true ELSE format('{not_stored}, %%s', {status})::boolean END
