-- Copies of what reads little of archived files (archive_lookups, archive_filters): see sql/lookups.py.

-- name: forget_part
DELETE FROM archive_lookups WHERE (table_name, month, part) = (%(table)s, %(month)s, %(part)s)

-- name: forget_parts
DELETE FROM archive_lookups WHERE table_name = %(table)s AND month = %(month)s AND part = ANY(%(parts)s::smallint[])

-- name: add_lookup
INSERT INTO archive_lookups (object_key, table_name, month, part, pieces, footer)
VALUES (%(object_key)s, %(table)s, %(month)s, %(part)s, %(pieces)s, %(footer)s)

-- name: add_filter
INSERT INTO archive_filters (object_key, field_id, bits) VALUES (%(object_key)s, %(field_id)s, %(bits)s)

-- name: lookups
-- Of the files that are archived now, with what names them in messages.
SELECT l.object_key, m.table_name || to_char(m.month, ' YYYY-MM'), m.object_sha256, l.pieces, l.footer
FROM archive_lookups l
    JOIN archive_months m ON (m.table_name, m.month, m.part, m.object_key) = (l.table_name, l.month, l.part, l.object_key)
WHERE l.object_key = ANY(%(keys)s)

-- name: filter_blocks
-- The block of each filter that a value belongs to: `high` are the upper 32 bits of its hash. A filter is not compressed,
-- so 32 bytes of it are read.
SELECT asked.place,
       substring(f.bits FROM 1 + 32 * ((asked.high * (octet_length(f.bits) / 32)) >> 32)::integer FOR 32)
FROM unnest(%(places)s::integer[], %(keys)s::text[], %(field_ids)s::integer[], %(highs)s::bigint[])
         AS asked (place, object_key, field_id, high)
    JOIN archive_filters f ON (f.object_key, f.field_id) = (asked.object_key, asked.field_id)
