-- The numbers of a table's columns (archive_columns): see sql/fields.py.

-- name: attributes
-- The columns that a relation has now.
SELECT a.attname::text, a.attnum
FROM pg_attribute a
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: fields
-- Every column that a table has or had, the oldest first.
SELECT field_id, name, former_names, system_identifier, database_oid, relation_oid, attribute, dropped_at IS NOT NULL
FROM archive_columns
WHERE table_name = %(table)s
ORDER BY field_id

-- name: has_fields
-- Whether the table of this project is there: a reader may come before its migration.
SELECT to_regclass('archive_columns') IS NOT NULL

-- name: add_field
INSERT INTO archive_columns (table_name, field_id, name, system_identifier, database_oid, relation_oid, attribute)
VALUES (%(table)s, %(field_id)s, %(name)s, %(system_identifier)s, %(database_oid)s, %(relation_oid)s, %(attribute)s)

-- name: keep_field
UPDATE archive_columns
SET name = %(name)s, former_names = %(former_names)s, system_identifier = %(system_identifier)s,
    database_oid = %(database_oid)s, relation_oid = %(relation_oid)s, attribute = %(attribute)s
WHERE (table_name, field_id) = (%(table)s, %(field_id)s)

-- name: drop_field
UPDATE archive_columns SET dropped_at = now() WHERE (table_name, field_id) = (%(table)s, %(field_id)s)
