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

-- name: unlogged
-- Those whose rows a crash removes, and which a standby does not have. A parent has no rows of its own.
SELECT c.oid FROM pg_class c WHERE c.oid = ANY(%(relations)s::oid[]) AND c.relpersistence = 'u' AND c.relkind = 'r'

-- name: dependents
-- What keeps a partition from being detached or dropped: objects that depend on it, or on what goes with it (its
-- indexes, constraints, sequences, types), and do not go with it themselves; the extension that it is a part of; and the
-- foreign keys of other tables to its parent, whose tables PostgreSQL would look through while everybody waits.
WITH RECURSIVE gone AS (
    SELECT r.oid AS root, 'pg_class'::regclass::oid AS classid, r.oid AS objid
    FROM unnest(%(relations)s::oid[]) AS r(oid)
    UNION
    SELECT g.root, d.classid, d.objid
    FROM gone g JOIN pg_depend d ON d.refclassid = g.classid AND d.refobjid = g.objid AND d.deptype IN ('a', 'i', 'P', 'S')
)
SELECT root, array_agg(DISTINCT what ORDER BY what)
FROM (
    SELECT g.root, CASE
        WHEN r.ev_class IS NOT NULL THEN
            CASE c.relkind WHEN 'm' THEN 'materialized view ' WHEN 'v' THEN 'view ' ELSE 'a rule of ' END || r.ev_class::regclass
        WHEN k.contype = 'f' THEN format('foreign key %%I of table %%s', k.conname, k.conrelid::regclass)
        ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS what
    FROM gone g
    JOIN pg_depend d ON d.refclassid = g.classid AND d.refobjid = g.objid AND d.deptype = 'n'
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_class c ON c.oid = r.ev_class
    LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_class v ON d.classid = 'pg_class'::regclass AND v.oid = d.objid AND v.relkind IN ('v', 'm')
    WHERE NOT EXISTS (SELECT FROM gone o WHERE (o.root, o.classid, o.objid) = (g.root, d.classid, d.objid))
      AND v.oid IS NULL AND coalesce(k.conparentid, 0) = 0  -- a view is named by its rule, a foreign key by its first one
    UNION ALL
    SELECT r.oid, pg_describe_object(d.refclassid, d.refobjid, 0)
    FROM unnest(%(relations)s::oid[]) AS r(oid)
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'e'
    UNION ALL
    SELECT i.inhrelid, format('foreign key %%I of table %%s to %%s', k.conname, k.conrelid::regclass, k.confrelid::regclass)
    FROM pg_inherits i JOIN pg_constraint k ON k.confrelid = i.inhparent AND k.contype = 'f' AND k.conparentid = 0
    WHERE i.inhrelid = ANY(%(relations)s::oid[])
) AS found
GROUP BY root

-- name: missing_constraints
-- What a warm parent demands of its rows and a partition does not. It cannot be attached without the CHECKs, by name. The
-- keys, foreign keys and unique indexes, under any name, ATTACH would make, looking at every row under its locks.
SELECT p.conname::text
FROM pg_constraint p
WHERE p.conrelid = %(parent)s AND (p.contype = 'c' AND NOT p.connoinherit OR p.contype IN ('p', 'u', 'x', 'f'))
  AND p.conparentid = 0  -- a foreign key to a partitioned table has one more for each partition
  AND NOT EXISTS (SELECT FROM pg_constraint c
                  WHERE c.conrelid = %(partition)s AND c.contype = p.contype AND (c.conname = p.conname OR c.contype <> 'c')
                    AND pg_get_constraintdef(c.oid) = pg_get_constraintdef(p.oid))
UNION ALL
SELECT p.indexrelid::regclass::text
FROM pg_index p
WHERE p.indrelid = %(parent)s AND p.indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = p.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_index c
                  WHERE c.indrelid = %(partition)s AND c.indisunique AND c.indisvalid
                    AND substring(pg_get_indexdef(c.indexrelid) FROM ' (USING .*)$')
                      = substring(pg_get_indexdef(p.indexrelid) FROM ' (USING .*)$'))
ORDER BY 1
