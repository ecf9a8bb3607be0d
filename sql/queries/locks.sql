-- Write once: what the store was asked to keep, and what it should keep. See sql/locks.py.

-- name: archived_objects
-- Every object of the archived parts of months, and their former ones: of all of them or of a table's month.
SELECT table_name, month, part, object_key
FROM stored_objects
WHERE (%(table)s::text IS NULL OR table_name = %(table)s)
  AND (%(first)s::date IS NULL OR month >= %(first)s) AND (%(last)s::date IS NULL OR month <= %(last)s)
ORDER BY table_name, month, part, object_key

-- name: locks
-- What was asked for, by object and version.
SELECT object_key, version, mode, locked_until, kept_until, hold_placed_at, hold_taken_at FROM archive_locks WHERE object_key = ANY(%(keys)s)

-- name: intend_retention
-- Before the store is asked. A retention is never shortened, a mode never weakened.
INSERT INTO archive_locks (object_key, version, table_name, month, part, mode, locked_until)
VALUES (%(object_key)s, %(version)s, %(table)s, %(month)s, %(part)s, %(mode)s, %(until)s)
ON CONFLICT (object_key, version) DO UPDATE
SET mode = CASE WHEN archive_locks.mode = 'COMPLIANCE' THEN 'COMPLIANCE' ELSE excluded.mode END,
    locked_until = greatest(archive_locks.locked_until, excluded.locked_until)

-- name: took_retention
UPDATE archive_locks SET kept_until = %(until)s WHERE object_key = %(object_key)s AND version = %(version)s

-- name: took_hold
UPDATE archive_locks SET hold_taken_at = clock_timestamp() WHERE object_key = %(object_key)s AND version = %(version)s

-- name: intend_hold
INSERT INTO archive_locks (object_key, version, table_name, month, part, hold_placed_at)
VALUES (%(object_key)s, %(version)s, %(table)s, %(month)s, %(part)s, clock_timestamp())
ON CONFLICT (object_key, version) DO UPDATE SET hold_placed_at = coalesce(archive_locks.hold_placed_at, clock_timestamp())

-- name: clear_hold
UPDATE archive_locks SET hold_placed_at = NULL, hold_taken_at = NULL WHERE object_key = %(object_key)s AND version = %(version)s

-- name: forget
-- Of an object that was deleted: its locks have ended with it.
DELETE FROM archive_locks WHERE object_key = %(object_key)s

-- name: promised
-- Until when the store keeps something of each month of a table that has objects, by what was asked of it.
SELECT l.month, max(l.locked_until)
FROM archive_locks l
JOIN stored_objects o USING (object_key)
WHERE l.table_name = %(table)s AND l.locked_until IS NOT NULL
GROUP BY l.month
ORDER BY l.month

-- name: placed_holds
-- Versions of an object that this project's legal hold is on.
SELECT version FROM archive_locks WHERE object_key = %(object_key)s AND hold_placed_at IS NOT NULL
