-- The schema of this project's own tables: is it there, whose is it, what is in it. See sql/own_schema.py.

-- name: there
SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s

-- name: has_catalogue
-- A row when the schema has this project's catalogue, with the table of its revision. A company's own alembic_version
-- has no such neighbours.
SELECT 1 FROM pg_namespace n
WHERE n.nspname = %(schema)s
  AND EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'archive_months' AND relkind = 'r')
  AND EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'alembic_version' AND relkind = 'r')
  AND EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = 'treasury_guard_history')

-- name: is_empty
-- A row when the schema has no relation.
SELECT 1 FROM pg_namespace n
WHERE n.nspname = %(schema)s AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)

-- name: foreign
-- A relation or function of a schema that has no catalogue of this project. The table of revisions alone is what a
-- first set-up leaves when it is killed.
SELECT o.name
FROM pg_namespace n
JOIN LATERAL (
    SELECT c.relname::text FROM pg_class c
    WHERE c.relnamespace = n.oid AND c.relname NOT IN ('alembic_version', 'alembic_version_pkc')
    UNION ALL
    SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = n.oid
) AS o(name) ON true
WHERE n.nspname = %(schema)s
  AND NOT EXISTS (SELECT FROM pg_class m WHERE m.relnamespace = n.oid AND m.relname = 'archive_months')
ORDER BY 1
LIMIT 1

-- name: catalogue_elsewhere
-- A schema that has this project's catalogue and its migrations, where the one that they belong in has none. From the
-- schema that they were in formerly they are moved.
SELECT n.nspname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'archive_months' AND c.relkind = 'r' AND n.nspname <> %(former)s
  AND EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = n.oid AND v.relname = 'alembic_version')
  AND NOT EXISTS (SELECT FROM pg_class o WHERE o.relname = 'archive_months'
                  AND o.relnamespace IN (to_regnamespace(quote_ident(%(schema)s)), to_regnamespace(quote_ident(%(former)s))))
ORDER BY 1
LIMIT 1

-- name: has_table
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind = 'r'

-- name: has_function
SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %(schema)s AND p.proname = %(name)s AND p.pronargs = 0

-- name: redirect
-- Functions of the schema that run with a search path of their own: it names the schema that they were in.
SELECT format('ALTER FUNCTION %%s SET search_path = %%I, pg_temp', p.oid::regprocedure, n.nspname)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %(schema)s AND p.proname LIKE 'treasury\_%%' AND 'search_path=public, pg_temp' = ANY (p.proconfig)
