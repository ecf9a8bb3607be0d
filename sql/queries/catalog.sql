-- Questions to PostgreSQL's own catalogue. A relation is meant by its OID: see sql/relations.py.

-- name: columns
-- A NOT NULL that is NOT VALID, which PostgreSQL 18 has, says nothing of the rows that were there before.
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_constraint c
           WHERE c.conrelid = a.attrelid AND c.contype = 'n' AND a.attnum = ANY(c.conkey) AND NOT c.convalidated)
FROM pg_attribute a
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: rounding
-- Of the columns, those in which PostgreSQL stores another value than it is given and says nothing: numbers with fewer
-- than two decimal places (the scale is the lower 11 bits of the modifier, signed), instants without milliseconds.
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.atttypid = 'numeric'::regtype THEN 'numeric(18,2)' ELSE 'timestamptz(3)' END
FROM pg_attribute a
WHERE a.attrelid = %(relation)s AND a.attname = ANY(%(columns)s) AND NOT a.attisdropped
  AND (a.atttypid = 'numeric'::regtype AND (((a.atttypmod - 4) & 2047) # 1024) - 1024 < 2
       OR a.atttypid = 'timestamptz'::regtype AND a.atttypmod BETWEEN 0 AND 2)
ORDER BY a.attnum

-- name: nondeterministic
-- The text columns for which PostgreSQL may hold different texts for equal, of all or of the ones that are named.
SELECT a.attname::text, c.collname::text
FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped AND NOT c.collisdeterministic
  AND (%(columns)s::text[] IS NULL OR a.attname = ANY(%(columns)s))
ORDER BY a.attnum

-- name: partitioning
-- The partitioning strategy ('r' is range) and the key columns of a partitioned table.
SELECT p.partstrat::text, array(
    SELECT a.attname::text FROM unnest(p.partattrs::int2[]) AS k(attnum)
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum)
FROM pg_partitioned_table p
WHERE p.partrelid = %(relation)s

-- name: primary_key
SELECT pg_get_constraintdef(c.oid)
FROM pg_constraint c
WHERE c.conrelid = %(relation)s AND c.contype = 'p'

-- name: primary_key_columns
SELECT array(
    SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY k.place)
FROM pg_constraint c
WHERE c.conrelid = %(relation)s AND c.contype = 'p'

-- name: indexes
-- Indexes other than the primary key: name and everything that follows ON <table> in their definition.
SELECT c.relname::text, substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %(relation)s AND NOT i.indisprimary
ORDER BY c.relname

-- name: is_guarded
-- Whether a parent has a guard as it is made now, for these events (tgtype) and with these arguments, and has it switched
-- on for itself and for every partition: 'O' and 'A' are, 'D' is off and 'R' fires for replicas alone.
SELECT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = %(relation)s AND tgname = %(trigger)s AND tgfoid = %(trigger)s::regproc AND NOT tgisinternal
      AND tgtype = %(events)s AND tgattr = '' AND (tgqual IS NOT NULL) = %(has_condition)s
      AND tgargs = coalesce((
          SELECT string_agg(convert_to(argument, getdatabaseencoding()) || '\x00'::bytea, ''::bytea ORDER BY place)
          FROM unnest(%(arguments)s::text[]) WITH ORDINALITY AS given(argument, place)), ''::bytea)
) AND NOT EXISTS (
    SELECT FROM pg_partition_tree(%(relation)s::oid::regclass) AS below JOIN pg_trigger t ON t.tgrelid = below.relid
    WHERE t.tgname = %(trigger)s AND t.tgfoid = %(trigger)s::regproc AND t.tgenabled NOT IN ('O', 'A'))

-- name: has_function
SELECT to_regprocedure(quote_ident(%(function)s) || '()') IS NOT NULL

-- name: partitions
-- The partitions of a parent with their bounds as instants (NULL where a bound is not an instant: DEFAULT, MINVALUE, and
-- infinity and years outside 1 to 9999, which Python has no instant for), and the conditions of their validated CHECKs.
SELECT c.oid, n.nspname::text, c.relname::text,
       (regexp_match(b.bound, $$FROM \('(\d{4}-[^']+\d)'\)$$))[1]::timestamptz,
       (regexp_match(b.bound, $$TO \('(\d{4}-[^']+\d)'\)$$))[1]::timestamptz,
       b.bound,
       i.inhdetachpending,
       array(SELECT pg_get_expr(k.conbin, k.conrelid) FROM pg_constraint k
             WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated)
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b(bound)
WHERE i.inhparent = %(parent)s
ORDER BY 4, 2, 3

-- name: readable
-- Those of the relations whose rows this login may read directly; through their parent it may read all.
SELECT c.oid
FROM pg_class c
WHERE c.oid = ANY(%(relations)s::oid[]) AND has_table_privilege(c.oid, 'SELECT')
  AND has_schema_privilege(c.relnamespace, 'USAGE')

-- name: relation_bytes
-- Heap, indexes and TOAST: of the relation and, where it is divided itself, of all below it.
SELECT coalesce(sum(pg_total_relation_size(below.oid)), 0)::bigint
FROM (SELECT %(relation)s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%(relation)s::oid)) AS below

-- name: heap_bytes
SELECT coalesce(pg_relation_size(%(relation)s::oid), 0)


-- name: constraint
SELECT 1 FROM pg_constraint WHERE conrelid = %(relation)s AND conname = %(name)s

-- name: bounds_check
-- A row when a validated CHECK begins with exactly the partition's bounds; what follows it with AND only narrows it.
SELECT 1
FROM pg_constraint c
CROSS JOIN LATERAL (SELECT pg_get_expr(c.conbin, c.conrelid) AS text) AS e
WHERE c.conrelid = %(relation)s AND c.contype = 'c' AND c.convalidated AND e.text NOT LIKE '%% OR %%'
  AND starts_with(e.text, format($$((%%1$I IS NOT NULL) AND (%%1$I >= %%2$L::timestamp with time zone) AND (%%1$I < %%3$L::timestamp with time zone)$$,
                                 %(column)s::text, %(lower)s::text, %(upper)s::text))

-- name: missing_indexes
-- The indexes of a parent that demand nothing of its rows and that a partition has no valid equal of: ATTACH would make
-- them. Each index of the parent takes one of the partition.
WITH indexes AS (
    SELECT indrelid, indexrelid, definition, row_number() OVER (PARTITION BY indrelid, definition ORDER BY indexrelid) AS place
    FROM pg_index CROSS JOIN LATERAL (SELECT substring(pg_get_indexdef(indexrelid) FROM ' (USING .*)$')) AS d(definition)
    WHERE indrelid = %(parent)s AND NOT indisunique AND NOT indisexclusion
       OR indrelid = %(partition)s AND NOT indisunique AND NOT indisexclusion AND indisvalid
)
SELECT p.indexrelid::bigint, c.relname::text, p.definition
FROM indexes p JOIN pg_class c ON c.oid = p.indexrelid
WHERE p.indrelid = %(parent)s
  AND NOT EXISTS (SELECT FROM indexes o
                  WHERE (o.indrelid, o.definition, o.place) = (%(partition)s::oid, p.definition, p.place))
ORDER BY 1

-- name: generated
-- The generated columns of a relation.
SELECT attname::text FROM pg_attribute
WHERE attrelid = %(relation)s AND attnum > 0 AND NOT attisdropped AND attgenerated <> ''
ORDER BY 1

-- name: estimated_rows
-- Rows of a relation as the last VACUUM or ANALYZE counted them; -1 before the first.
SELECT reltuples::bigint FROM pg_class WHERE oid = %(relation)s
