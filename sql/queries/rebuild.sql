-- The catalogue, written again from the archive: see sql/rebuild.py.

-- name: is_empty
-- Whether this database has no month, no installation and no event of the public log.
SELECT NOT EXISTS (SELECT FROM archive_months) AND NOT EXISTS (SELECT FROM installation)
   AND NOT EXISTS (SELECT FROM log_events)

-- name: lock
-- Until the end of the transaction nobody else enters a month.
LOCK TABLE archive_months, installation IN SHARE ROW EXCLUSIVE MODE

-- name: add_month
INSERT INTO archive_months (table_name, month, part, tier, attempt, row_count, sums, digest, object_key, object_bytes, object_sha256,
                            manifest_key, manifest_sha256, verified_at, cold_at, tidied_at, keys_tell_month, columns, tree, layout, lookup,
                            kept)
VALUES (%(table)s, %(month)s, %(part)s, 'cold', %(attempt)s, %(row_count)s, %(sums)s, %(digest)s, %(object_key)s, %(object_bytes)s,
        %(object_sha256)s, %(manifest_key)s, %(manifest_sha256)s, %(cold_at)s, %(cold_at)s, %(cold_at)s, %(keys_tell_month)s,
        %(columns)s, %(tree)s, %(layout)s, %(lookup)s, %(kept)s)

-- name: add_gone
-- A part whose deletion has begun: what the log knows of it.
INSERT INTO archive_months (table_name, month, part, tier, step, attempt, row_count, sums, digest, object_key, object_bytes,
                            object_sha256, manifest_key, manifest_sha256, verified_at, cold_at, tidied_at, layout, certificate,
                            deleted_at)
VALUES (%(table)s, %(month)s, %(part)s, 'deleted', 'deleting', %(attempt)s, %(row_count)s, %(sums)s, %(digest)s, %(object_key)s,
        %(object_bytes)s, %(object_sha256)s, %(manifest_key)s, %(manifest_sha256)s, %(cold_at)s, %(cold_at)s, %(cold_at)s,
        %(layout)s, %(certificate)s, %(cold_at)s)

-- name: mark_gone
-- The parts of a month whose deletion another database has begun. One that is in PostgreSQL again stays.
UPDATE archive_months
SET tier = 'deleted', step = 'deleting', certificate = %(certificate)s, deleted_at = %(begun_at)s
WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[]) AND tier IN ('cold', 'deep')

-- name: has_part
SELECT EXISTS (SELECT FROM archive_months WHERE (table_name, month, part) = (%(table)s, %(month)s, %(part)s))

-- name: add_upload
INSERT INTO archive_uploads (object_key, table_name, month, part, attempt, state, installation_id, incarnation)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, %(attempt)s, 'current', %(installation_id)s, %(incarnation)s)

-- name: take_uploads
-- The objects of a month whose parts another database has replaced; they are entered again behind the new parts.
DELETE FROM archive_uploads WHERE table_name = %(table)s AND month = %(month)s
RETURNING object_key, attempt, installation_id, incarnation

-- name: take_parts
DELETE FROM archive_months WHERE table_name = %(table)s AND month = %(month)s AND tier IN ('cold', 'deep')
RETURNING part

-- name: add_former_upload
-- One that is not there: how many are wanted, and how many PostgreSQL stored.
WITH wanted AS (
    SELECT table_name, month, min(part) AS part FROM archive_months
    WHERE table_name = %(table)s AND month = %(month)s
      AND NOT EXISTS (SELECT FROM archive_uploads WHERE object_key = %(object_key)s)
    GROUP BY table_name, month
), stored AS (
    INSERT INTO archive_uploads (object_key, table_name, month, part, attempt, state, installation_id, incarnation)
    SELECT %(object_key)s, table_name, month, part, %(attempt)s, 'former', %(installation_id)s, %(incarnation)s FROM wanted
    ON CONFLICT DO NOTHING
    RETURNING object_key
)
SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM stored)

-- name: forget_columns
-- The numbers that `treasury setup` gave to the columns of a table, which no archived month has: those of the archive
-- take their place, and a column that the archive does not know gets a new number.
DELETE FROM archive_columns WHERE table_name = %(table)s

-- name: add_column
-- Its place in PostgreSQL is that of no relation, so the number goes by the column's name.
INSERT INTO archive_columns (table_name, field_id, name, former_names, database_oid, relation_oid, attribute, dropped_at)
VALUES (%(table)s, %(field_id)s, %(name)s, %(former_names)s, 0, 0, %(attribute)s, CASE WHEN %(is_dropped)s THEN now() END)
