-- The deep tier: archived parts of months whose objects change their storage class. See sql/deep.py.

-- name: part
SELECT table_name, month, part, tier, step, row_count, object_key, object_bytes, object_sha256, manifest_sha256, storage_class
FROM archive_months
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s

-- name: begin_copy
INSERT INTO archive_copies (object_key, table_name, month, part, storage_class, size_bytes, part_bytes, etag, checksum,
                            from_version, from_etag)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, %(storage_class)s, %(size_bytes)s, %(part_bytes)s, %(etag)s,
        %(checksum)s, %(from_version)s, %(from_etag)s)

-- name: copy
SELECT storage_class, size_bytes, part_bytes, etag, checksum, from_version, from_etag
FROM archive_copies WHERE object_key = %(object_key)s

-- name: drop_copy
DELETE FROM archive_copies WHERE object_key = %(object_key)s

-- name: mark_deep
UPDATE archive_months
SET tier = 'deep', deep_at = coalesce(deep_at, now()), storage_class = %(storage_class)s, deep_etag = %(etag)s,
    last_error = NULL
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND tier IN ('cold', 'deep') AND step = 'idle'

-- name: note_failure
UPDATE archive_months SET last_error = %(error)s
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND tier IN ('cold', 'deep')

-- name: classed_parts
-- The archived parts whose objects are in a storage class of their own.
SELECT table_name, to_char(month, 'YYYY-MM') AS month, part, object_key, object_bytes, storage_class, deep_etag
FROM archive_months
WHERE tier = 'deep' AND storage_class IS NOT NULL
ORDER BY table_name, month, part

-- name: mark_went_deep
UPDATE archive_months
SET tier = 'deep', deep_at = coalesce(deep_at, %(at)s), storage_class = %(storage_class)s, deep_etag = NULL
WHERE table_name = %(table)s AND month = %(month)s AND part = %(part)s AND tier IN ('cold', 'deep')

-- name: note_etag
UPDATE archive_months SET deep_etag = %(etag)s WHERE object_key = %(object_key)s AND tier = 'deep'
