-- Which relation a name means, and whether it still does.

-- name: called
-- The relations of a name in every schema but PostgreSQL's own and those of temporary tables: OID, schema, name, and
-- whether the search path finds it. That one comes first.
SELECT c.oid, n.nspname::text, c.relname::text, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 4 DESC, 2

-- name: in_schema
SELECT c.oid, n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s

-- name: is_partition
-- A row while schema and name lead to the OID, and the OID is a partition of the parent.
SELECT 1
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE (c.oid, n.nspname, c.relname) = (%(oid)s, %(schema)s, %(name)s) AND i.inhparent = %(parent)s
