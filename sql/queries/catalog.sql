-- Questions to PostgreSQL's own catalogue. Names are resolved by the search path, as in any other query.

-- name: columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_attribute a
WHERE a.attrelid = to_regclass(quote_ident(%(relation)s)) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: partitioning
-- The partitioning strategy ('r' is range) and the key columns of a partitioned table.
SELECT p.partstrat::text, array(
    SELECT a.attname::text FROM unnest(p.partattrs::int2[]) AS k(attnum)
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum)
FROM pg_partitioned_table p
WHERE p.partrelid = to_regclass(quote_ident(%(relation)s))

-- name: primary_key
SELECT pg_get_constraintdef(c.oid)
FROM pg_constraint c
WHERE c.conrelid = to_regclass(quote_ident(%(relation)s)) AND c.contype = 'p'

-- name: indexes
-- Indexes other than the primary key: name and everything that follows ON <table> in their definition.
SELECT c.relname::text, substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(quote_ident(%(relation)s)) AND NOT i.indisprimary
ORDER BY c.relname

-- name: has_trigger
SELECT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass(quote_ident(%(relation)s)) AND tgname = %(trigger)s AND NOT tgisinternal)

-- name: has_function
SELECT to_regprocedure(quote_ident(%(function)s) || '()') IS NOT NULL

-- name: partitions
-- The partitions of a parent with their bounds as instants (NULL where a bound is no instant: DEFAULT, MINVALUE).
SELECT c.relname::text,
       (regexp_match(b.bound, $$FROM \('([^']+)'\)$$))[1]::timestamptz,
       (regexp_match(b.bound, $$TO \('([^']+)'\)$$))[1]::timestamptz,
       b.bound,
       i.inhdetachpending
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b(bound)
WHERE i.inhparent = to_regclass(quote_ident(%(parent)s))
ORDER BY 2, 1

-- name: relation_bytes
SELECT coalesce(pg_total_relation_size(to_regclass(quote_ident(%(relation)s))), 0)
