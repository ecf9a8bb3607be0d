-- Copies of what reads little of archived files (archive_lookups, archive_filters): see sql/lookups.py.

-- name: forget_part
DELETE FROM archive_lookups WHERE (table_name, month, part) = (%(table)s, %(month)s, %(part)s)

-- name: forget_parts
DELETE FROM archive_lookups WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[])

-- name: add_lookup
INSERT INTO archive_lookups (object_key, table_name, month, part, pieces, footer, check_sha256)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, %(pieces)s, %(footer)s, %(check_sha256)s)

-- name: add_filter
INSERT INTO archive_filters (object_key, field_id, bits) VALUES (%(object_key)s, %(field_id)s, %(bits)s)

-- name: lookups
-- Of the files that are archived now, with what names them in messages.
SELECT l.object_key, m.table_name || to_char(m.month, ' YYYY-MM'), m.object_sha256, l.pieces, l.footer, l.check_sha256
FROM archive_lookups l
    JOIN archive_months m ON (m.table_name, m.month, m.part, m.object_key) = (l.table_name, l.month, l.part, l.object_key)
WHERE l.object_key = ANY(%(keys)s)

-- name: filter_blocks
-- The number of blocks of each filter, and the stretch with its check that a value belongs to: `high` are the upper 32 bits of
-- the value's hash. A filter is not compressed, so that stretch of it is read.
SELECT asked.place, f.blocks,
       substring(f.bits FROM 1 + 264 * (((asked.high * f.blocks) >> 32) / 8)::integer FOR 264)
FROM unnest(%(places)s::integer[], %(keys)s::text[], %(field_ids)s::integer[], %(highs)s::bigint[])
         AS asked (place, object_key, field_id, high)
    JOIN (SELECT object_key, field_id, bits, octet_length(bits) / 264 * 8 + octet_length(bits) %% 264 / 32 AS blocks
          FROM archive_filters) AS f ON (f.object_key, f.field_id) = (asked.object_key, asked.field_id)
