-- The view over both parents of a ledger table, and the names that a table needs. See sql/views.py and sql/names.py.

-- name: columns
SELECT a.attname::text FROM pg_attribute a
WHERE a.attrelid = %(view)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: reads
-- The relations that a view reads, and whether it is a view at all.
SELECT array(SELECT DISTINCT d.refobjid::bigint
             FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
             WHERE r.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
             ORDER BY 1)
FROM pg_class c
WHERE c.oid = %(view)s AND c.relkind = 'v'

-- name: taken
-- What has one of the names in a schema: a relation of any kind, or a type (a table or view makes a type of its name).
SELECT o.name, o.kind
FROM (
    SELECT c.relname::text, c.relnamespace,
           CASE c.relkind WHEN 'r' THEN 'a table' WHEN 'p' THEN 'a partitioned table' WHEN 'v' THEN 'a view'
                          WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table' WHEN 'S' THEN 'a sequence'
                          WHEN 'c' THEN 'a type' ELSE 'an index' END
    FROM pg_class c
    UNION ALL
    SELECT t.typname::text, t.typnamespace, 'a type' FROM pg_type t WHERE t.typrelid = 0 AND t.typcategory <> 'A'
) AS o(name, namespace, kind)
JOIN pg_namespace n ON n.oid = o.namespace
WHERE n.nspname = %(schema)s AND o.name = ANY(%(names)s)
ORDER BY 1
