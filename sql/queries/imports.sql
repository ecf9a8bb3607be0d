-- Bulk loading. Names in braces are identifiers that the caller fills in.

-- name: create_staging
-- Rows wait here, out of everybody's way, so that the partitions are locked for the INSERT alone. The table is named with
-- its schema: another one of its name may be on the search path.
CREATE TEMPORARY TABLE pg_temp.import_staging (line bigint NOT NULL, LIKE {parent}) ON COMMIT DELETE ROWS

-- name: copy_rows
-- No value of a row is an empty text, so the empty field can stand for NULL.
COPY {relation} ({columns}) FROM STDIN (FORMAT text, NULL '')

-- name: insert_staged
-- Loads what is not there yet. Gives the lines that were not loaded, and those that were and read otherwise now: a trigger
-- changed them. A row whose key was changed has no line.
WITH loaded AS (
    INSERT INTO {parent} ({columns})
    SELECT {columns} FROM pg_temp.import_staging
    ON CONFLICT ({key}, {time}) DO NOTHING
    RETURNING {columns}
)
SELECT staged.line, loaded.{key} IS NOT NULL
FROM pg_temp.import_staging AS staged FULL JOIN loaded ON loaded.{key} = staged.{key}
WHERE ROW({loaded}) IS DISTINCT FROM ROW({staged})

-- name: find_identities
SELECT identity, row_id, fingerprint FROM import_identities WHERE identity = ANY (%(identities)s::uuid[])

-- name: copy_identities
COPY import_identities (identity, row_id, fingerprint, table_name) FROM STDIN (FORMAT text)

-- name: has_identities
-- Whether anything is known of rows of a month: an id contains its month.
SELECT EXISTS (SELECT FROM import_identities
               WHERE row_id >= %(first_id)s AND row_id < %(end_id)s AND coalesce(table_name, %(table)s) = %(table)s)

-- name: forget_identities
-- Of the rows of a month that no tier has any more. An entry without a table is of an earlier version: it goes with the
-- last table that has the month.
DELETE FROM import_identities AS known
WHERE row_id >= %(first_id)s AND row_id < %(end_id)s
  AND (table_name = %(table)s OR table_name IS NULL AND NOT EXISTS (
      SELECT FROM archive_months m WHERE m.month = %(month)s AND m.table_name <> %(table)s AND m.tier <> 'deleted'))
  AND NOT EXISTS (SELECT FROM unnest(%(held)s::uuid[]) AS held (id) WHERE held.id = known.row_id)

-- name: gone_rows
-- Those of the rows that are in no partition, although their month has not left PostgreSQL.
SELECT known.id FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS known (id, at)
WHERE NOT EXISTS (SELECT FROM {hot} AS there WHERE (there.{key}, there.{time}) = (known.id, known.at))
  AND NOT EXISTS (SELECT FROM {warm} AS there WHERE (there.{key}, there.{time}) = (known.id, known.at))
  AND NOT EXISTS (
      SELECT FROM archive_months
      WHERE table_name = %(table)s AND month = date_trunc('month', known.at AT TIME ZONE 'UTC')::date
        AND tier IN ('cold', 'deep', 'deleted'))

-- name: record_source
-- The first rule stays, but for one: rows that are known by their file have no identity of their values from then on.
INSERT INTO import_sources AS known (table_name, source_name, rule) VALUES (%(table)s, %(source)s, %(rule)s)
ON CONFLICT (table_name, source_name) DO UPDATE SET rule = excluded.rule
WHERE excluded.rule = 'identity file' AND starts_with(known.rule, 'identity ') AND known.rule <> excluded.rule

-- name: source_rule
SELECT rule FROM import_sources WHERE (table_name, source_name) = (%(table)s, %(source)s)

-- name: find_staged
-- For a dry run, and to distinguish what is there from what was not stored: the lines whose rows are there already. The columns are named to be checked.
SELECT line FROM (SELECT line, {columns} FROM pg_temp.import_staging) AS staged
WHERE EXISTS (SELECT FROM {parent} AS there WHERE (there.{key}, there.{time}) = (staged.{key}, staged.{time}))

-- name: months
-- Where each month of a table is, and whether it is sealed.
-- Of a month with several parts the newest comes last, and counts.
SELECT month, tier, sealed_at IS NOT NULL FROM archive_months WHERE table_name = %(table)s ORDER BY month, part

-- name: record_import
INSERT INTO imports (table_name, file_name, file_sha256, mapping_sha256, read_count, loaded_count, known_count,
                     different_count, rejected_count, line_count, started_at)
VALUES (%(table)s, %(file)s, %(file_sha256)s, %(mapping_sha256)s, %(read)s, %(loaded)s, %(known)s,
        %(different)s, %(rejected)s, %(lines)s, %(started_at)s)

-- name: copy_csv
COPY {parent} ({columns}) FROM STDIN (FORMAT csv)

-- name: month_has_rows
SELECT EXISTS (SELECT FROM {parent} WHERE {time} >= %(lower)s AND {time} < %(upper)s)

-- name: lock_month
SELECT tier, step FROM archive_months WHERE (table_name, month) = (%(table)s, %(month)s)
ORDER BY part DESC LIMIT 1 FOR UPDATE
