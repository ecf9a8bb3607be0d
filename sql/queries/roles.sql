-- What the roles may do in this database now, and what is open to everybody. See sql/roles.py.

-- name: existing
SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%(roles)s)

-- name: relations
-- This project's own relations: they are in the first schema of the search path, which every session pins.
SELECT oid, relnamespace::regnamespace::text, relname::text FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%(relations)s)

-- name: held
-- Every privilege that the roles or PUBLIC hold on the relations, on the whole of one (column NULL) or on a column.
SELECT c.oid, coalesce(g.rolname, 'public')::text, held.privilege_type, held.column_name
FROM pg_class c
CROSS JOIN LATERAL (
    SELECT NULL AS column_name, grantee, privilege_type FROM aclexplode(c.relacl)
    UNION ALL
    SELECT a.attname::text, acl.grantee, acl.privilege_type
    FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS held
LEFT JOIN pg_roles g ON g.oid = held.grantee
WHERE c.oid = ANY(%(relations)s::oid[])
  AND (held.grantee = 0 OR g.rolname = ANY(%(roles)s))

-- name: closing
-- The statements that take from PUBLIC what PostgreSQL, or a database made by an older one, gives it: making tables in
-- the schemas of the search path, making temporary tables, calling this project's functions. Empty when nothing is open.
SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', n.nspname)
FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
WHERE n.nspname = ANY (current_schemas(false)) AND acl.grantee = 0 AND acl.privilege_type = 'CREATE'
UNION ALL
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', d.datname)
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
WHERE d.datname = current_database() AND acl.grantee = 0 AND acl.privilege_type = 'TEMPORARY'
UNION ALL
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'treasury\_%' AND acl.grantee = 0

-- name: opening
-- The statements that let a role in where PUBLIC, by which it is let in otherwise, was shut out; and the one that lets
-- the API see the sessions and statements of other roles, for its monitoring: figures and texts, no row of any table.
SELECT format('GRANT CONNECT ON DATABASE %%I TO %%I', current_database(), r.rolname)
FROM pg_roles r
WHERE r.rolname = ANY(%(roles)s) AND NOT has_database_privilege(r.oid, current_database(), 'CONNECT')
UNION ALL
SELECT format('GRANT EXECUTE ON FUNCTION %%s TO %%I', p.oid::regprocedure, r.rolname)
FROM pg_proc p, pg_roles r
WHERE r.rolname = ANY(%(roles)s) AND p.pronamespace = current_schema()::regnamespace
  AND p.proname = 'treasury_totals_fingerprint'  -- it reads PostgreSQL's catalogue only, with the rights of its caller
  AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) AS acl WHERE acl.grantee = r.oid AND acl.privilege_type = 'EXECUTE')
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', s.name, r.rolname)
FROM pg_roles r CROSS JOIN unnest(current_schemas(false)) AS s(name)
WHERE r.rolname = ANY(%(roles)s) AND NOT has_schema_privilege(r.oid, s.name, 'USAGE')
UNION ALL
SELECT format('GRANT pg_read_all_stats TO %%I', r.rolname)
FROM pg_roles r
WHERE r.rolname = ANY(%(roles)s) AND r.rolname = %(api)s AND NOT pg_has_role(r.oid, 'pg_read_all_stats', 'MEMBER')

-- name: parents
-- Those of the relations that are partitioned by range of the time column.
SELECT p.partrelid
FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
WHERE p.partrelid = ANY(%(relations)s::oid[]) AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = %(time_column)s

-- name: partitions
-- Those whose privileges this login may change; the plan names the others.
SELECT c.oid, n.nspname::text, c.relname::text
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = ANY(%(parents)s::oid[]) AND pg_has_role(c.relowner, 'USAGE')

-- name: schema_usage
-- The statements that let the roles into schemas where months lie.
SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', n.nspname, r.rolname)
FROM pg_namespace n CROSS JOIN pg_roles r
WHERE n.nspname = ANY(%(schemas)s::text[]) AND n.nspname <> ALL (current_schemas(false)) AND r.rolname = ANY(%(roles)s)
  AND NOT has_schema_privilege(r.oid, n.oid, 'USAGE')
