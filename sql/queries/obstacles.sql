-- What keeps a login from reading or moving a relation whole.

-- name: obstacles
-- Of each relation: what it is, whether this login has the rights of its owner, and the policies that would hide rows of
-- it from this login (none where row-level security is not in force for it).
SELECT c.oid, c.relkind::text, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text,
       row_security_active(c.oid),
       array(SELECT p.polname::text FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY 1)
FROM pg_class c
WHERE c.oid = ANY(%(relations)s::oid[])

-- name: policed
-- Relations with row-level security in force for a login: for all but superusers and those with BYPASSRLS; for the owner
-- only where it is forced.
SELECT c.oid, c.relnamespace::regnamespace::text, c.relname::text, array_agg(r.rolname::text ORDER BY r.rolname)
FROM pg_class c JOIN pg_roles r ON r.rolname = ANY(%(logins)s)
WHERE c.oid = ANY(%(relations)s::oid[]) AND c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
  AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
GROUP BY c.oid
ORDER BY 2, 3
