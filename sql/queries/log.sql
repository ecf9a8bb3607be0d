-- The public log: the outbox of its events, and how far it was published. See sql/log.py.

-- name: lock_outbox
-- Until the end of the transaction: the next number is free only when the one before it was committed.
SELECT pg_advisory_xact_lock(hashtextextended('treasury log outbox', 7305824))

-- name: lock_log
-- For the session: the archive is written meanwhile, which no transaction should wait for.
SELECT pg_advisory_lock(hashtextextended('treasury log', 7305824))

-- name: unlock_log
SELECT pg_advisory_unlock(hashtextextended('treasury log', 7305824))

-- name: may_publish
SELECT has_table_privilege('log_state', 'UPDATE')

-- name: last_number
-- The number of the incarnation's last event, whether the installation has any event, and the time. To be asked under the
-- lock of the outbox.
SELECT coalesce(max(number) FILTER (WHERE incarnation = %(incarnation)s), 0), count(*) > 0, clock_timestamp()
FROM log_events
WHERE installation_id = %(installation_id)s AND replaced_at IS NULL

-- name: add_event
INSERT INTO log_events (installation_id, incarnation, number, event, entry, happened_at, entry_index)
VALUES (%(installation_id)s, %(incarnation)s, %(number)s, %(event)s, %(entry)s, %(happened_at)s, %(entry_index)s)

-- name: cold_parts
-- What the catalogue knows of archived parts of months: all of them, or one.
SELECT m.table_name, to_char(m.month, 'YYYY-MM') AS month, m.part, m.manifest_key, m.manifest_sha256, m.row_count, m.sums, m.digest,
       m.tree, m.layout, m.kept,
       (SELECT jsonb_agg(jsonb_build_object('key', o.object_key, 'size_bytes', o.size_bytes, 'sha256', encode(o.sha256, 'hex'))
                         ORDER BY o.place)
        FROM archive_objects o
        WHERE (o.table_name, o.month, o.part) = (m.table_name, m.month, m.part) AND o.kind <> 'manifest') AS objects
FROM archive_months m
WHERE m.tier IN ('cold', 'deep')
  AND (%(table)s::text IS NULL OR (m.table_name, m.month) = (%(table)s, %(month)s::date))
  AND (%(part)s::smallint IS NULL OR m.part = %(part)s)
ORDER BY m.table_name, m.month, m.part

-- name: state
SELECT installation_id, origin, folder, keys, planned_size, published_size, root, checkpoint, published_at, indexed_size,
       timestamped_size, witnessed, timestamped, shortfall
FROM log_state
WHERE installation_id = %(installation_id)s

-- name: begin_log
INSERT INTO log_state (installation_id, origin, folder) VALUES (%(installation_id)s, %(origin)s, %(folder)s)
ON CONFLICT (installation_id) DO NOTHING

-- name: plan
-- Dense places for what waits, in the order of the numbers; the numbers are in the order of the commits.
WITH waiting AS (
    SELECT event_id, row_number() OVER (ORDER BY incarnation, number) AS place
    FROM log_events
    WHERE installation_id = %(installation_id)s AND entry_index IS NULL AND replaced_at IS NULL
)
UPDATE log_events AS e
SET entry_index = %(planned_size)s + waiting.place - 1
FROM waiting
WHERE e.event_id = waiting.event_id

-- name: set_planned
UPDATE log_state SET planned_size = %(planned_size)s, keys = %(keys)s WHERE installation_id = %(installation_id)s

-- name: set_published
UPDATE log_state
SET published_size = %(size)s, root = %(root)s, checkpoint = %(checkpoint)s,
    published_at = CASE WHEN published_size = %(size)s THEN coalesce(published_at, now()) ELSE now() END
WHERE installation_id = %(installation_id)s

-- name: take_log
-- The log of a database that this one takes the place of. Its indexes are written again.
UPDATE log_state
SET planned_size = %(size)s, published_size = %(size)s, root = %(root)s, checkpoint = %(checkpoint)s, keys = %(keys)s,
    published_at = now()
WHERE installation_id = %(installation_id)s

-- name: set_indexed
UPDATE log_state SET indexed_size = %(size)s WHERE installation_id = %(installation_id)s

-- name: set_timestamped
UPDATE log_state SET timestamped_size = %(size)s WHERE installation_id = %(installation_id)s

-- name: set_notes
UPDATE log_state SET witnessed = %(witnessed)s, timestamped = %(timestamped)s, shortfall = %(shortfall)s
WHERE installation_id = %(installation_id)s
  AND (witnessed, timestamped, shortfall) IS DISTINCT FROM (%(witnessed)s, %(timestamped)s, %(shortfall)s)

-- name: entries
-- The entries that have a place, in order.
SELECT entry_index, entry FROM log_events
WHERE installation_id = %(installation_id)s AND entry_index IS NOT NULL AND replaced_at IS NULL
ORDER BY entry_index

-- name: newest_events
SELECT entry_index, incarnation, number, event, happened_at FROM log_events
WHERE installation_id = %(installation_id)s AND replaced_at IS NULL
ORDER BY incarnation DESC, number DESC
LIMIT %(limit)s

-- name: waiting
-- What was recorded and is not published: how many events, and since when the oldest one waits.
SELECT count(*), min(e.recorded_at)
FROM log_events e LEFT JOIN log_state s USING (installation_id)
WHERE e.installation_id = %(installation_id)s AND e.replaced_at IS NULL
  AND (e.entry_index IS NULL OR e.entry_index >= coalesce(s.published_size, 0))

-- name: waiting_months
-- The months that these events are about.
SELECT DISTINCT body ->> 'table', body ->> 'month'
FROM (
    SELECT convert_from(e.entry, 'UTF8')::jsonb -> 'body' AS body
    FROM log_events e LEFT JOIN log_state s USING (installation_id)
    WHERE e.installation_id = %(installation_id)s AND e.replaced_at IS NULL
      AND (e.entry_index IS NULL OR e.entry_index >= coalesce(s.published_size, 0))
) AS waiting
WHERE body ? 'month'

-- name: undecided
-- Events whose place, if they have one, may be another database's: beyond what is known to be published.
SELECT event_id, entry, entry_index FROM log_events
WHERE installation_id = %(installation_id)s AND replaced_at IS NULL
  AND (entry_index IS NULL OR entry_index >= %(from_index)s)
ORDER BY incarnation, number

-- name: replace_events
UPDATE log_events SET replaced_at = clock_timestamp() WHERE event_id = ANY(%(event_ids)s::bigint[])

-- name: archived_event
-- The newest event that archived a part of a month, with its place in the log.
SELECT entry_index, entry FROM log_events
WHERE installation_id = %(installation_id)s AND replaced_at IS NULL AND event = 'archived'
  AND convert_from(entry, 'UTF8')::jsonb -> 'body' @> jsonb_build_object('table', %(table)s::text, 'month', %(month)s::text,
                                                                        'part', %(part)s::integer)
ORDER BY entry_index DESC NULLS FIRST
LIMIT 1

-- name: uploads
-- Every object whose upload was begun, to distinguish what a run left behind from what a stranger put there.
SELECT object_key, state FROM archive_uploads
