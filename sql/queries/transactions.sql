-- What the API asks of a tiered table. Braces are filled in from its TieredTable: {hot} and {warm} are its parents,
-- {id} and {time} its key and time columns, {columns} the columns of a row.
--
-- Every statement here that reads rows names the hot parent before the warm one: that is the order in which a mover
-- locks them, and both locks are held before the statement takes its snapshot.

-- name: store
-- One flush of the API: claims each request's idempotency key and stores the rows of those that got theirs. One
-- statement, so one transaction. Gives back the claimed keys; a request that is not among them was answered before.
-- Every array comes as the text of its literal (sql/arrays.py).
-- Keys are claimed in order, so that two flushes can wait for each other but never in a circle.
WITH request AS (
    SELECT * FROM unnest(%(client_ids)s::text::text[], %(keys)s::text::text[], %(fingerprints)s::text::bytea[],
                         %(status_codes)s::text::smallint[], %(responses)s::text::bytea[])
        AS r(client_id, key, fingerprint, status_code, response)
), claimed AS (
    INSERT INTO idempotency_keys (client_id, key, fingerprint, status_code, response)
    SELECT client_id, key, fingerprint, status_code, response FROM request ORDER BY client_id, key
    ON CONFLICT DO NOTHING
    RETURNING client_id, key
), stored AS (
    INSERT INTO {hot} ({columns})
    SELECT {values}
    FROM unnest(%(row_keys)s::text::text[], {arrays}) AS given(row_key, {columns})
    JOIN claimed ON claimed.client_id = given.client_id AND claimed.key = given.row_key
)
SELECT client_id, key FROM claimed

-- name: find
-- One row by its id, and where its month is. Always one line: NULLs where there is no such row or no such month.
SELECT m.tier, m.object_key, found.*
FROM (SELECT 1) AS line
LEFT JOIN (
    SELECT {columns} FROM {hot} WHERE {id} = %(id)s AND {time} = %(time)s
    UNION ALL
    SELECT {columns} FROM {warm} WHERE {id} = %(id)s AND {time} = %(time)s
) AS found ON true
LEFT JOIN archive_months m ON m.table_name = %(table)s AND m.month = %(month)s

-- name: lock_parents
-- Holds off every mover until the transaction ends; writers and other readers do not notice.
LOCK TABLE ONLY {hot}, ONLY {warm} IN ACCESS SHARE MODE

-- name: cold_months
-- The archived months that may hold rows of a page, newest first.
SELECT month, object_key
FROM archive_months
WHERE table_name = %(table)s AND tier IN ('cold', 'deep')
  AND (%(first_month)s::date IS NULL OR month >= %(first_month)s)
  AND (%(last_month)s::date IS NULL OR month <= %(last_month)s)
ORDER BY month DESC

-- name: page
-- The newest rows that fulfil the conditions, of hot and warm. Each branch stops at the limit by itself.
SELECT * FROM (
    (SELECT {columns} FROM {hot} WHERE {conditions} ORDER BY {time} DESC, {id} DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT {columns} FROM {warm} WHERE {conditions} ORDER BY {time} DESC, {id} DESC LIMIT %(limit)s)
) AS page
ORDER BY {time} DESC, {id} DESC
LIMIT %(limit)s

-- name: change_status
-- Moves a row on if it stands where it may be moved from; of two callers at once only one finds it there.
WITH hot AS (
    UPDATE {hot} SET {status} = %(status)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND client_id = %(client_id)s AND {status} = ANY(%(movable)s)
    RETURNING {columns}
), warm AS (
    UPDATE {warm} SET {status} = %(status)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND client_id = %(client_id)s AND {status} = ANY(%(movable)s)
    RETURNING {columns}
)
SELECT * FROM hot UNION ALL SELECT * FROM warm
