-- Internal rows of a day. DuckDB runs these over the table `own_rows` (tasks/reconciliation/closing/internal_days.py). The text
-- of a row has every compared field, separated by U+001F, which no text of the ledger contains; a mark before a field that may
-- be NULL says whether it is. An amount that is not of whole cents is there as it is. Times are microseconds since 1970 UTC, days
-- are Africa/Johannesburg days.

-- name: create_day_row
CREATE VIEW day_row AS
SELECT DATE '1970-01-01' + ((epoch_ms(created_at) + getvariable('offset_ms')) // 86400000)::INTEGER AS day,
       id, created_at, status, amount, currency, commission, supplier_reference,
       (CASE WHEN status <> 'completed' THEN 0 WHEN type = 'refund' THEN -amount ELSE amount END)::DECIMAL(18,2) AS value,
       concat_ws(chr(31), id::VARCHAR, epoch_us(created_at), coalesce(amount_in_parts, amount::VARCHAR), commission, type,
                 status, currency, vas_type,
                 coalesce('=' || reference, '-'), coalesce('=' || supplier_reference, '-'),
                 coalesce('=' || supplier_transaction_id, '-'), coalesce('=' || supplier_product_id, '-')) || chr(10) AS text
FROM own_rows WHERE NOT by_id

-- name: day_texts
-- Line after line in the order of the ids: what is digested, and what is kept of each row.
SELECT day, id::VARCHAR AS id, created_at, status, amount, currency, value, md5_number_lower(text) AS fingerprint, text
FROM day_row WHERE day IN (SELECT unnest($days::DATE[])) ORDER BY day, day_row.id, created_at

-- name: day_sums
SELECT day, currency, count(*), sum(amount)::VARCHAR, sum(value)::VARCHAR, sum(commission)::VARCHAR,
       count(*) FILTER (WHERE status IN ('pending', 'processing'))
FROM day_row WHERE day IN (SELECT unnest($days::DATE[])) GROUP BY day, currency ORDER BY day, currency

-- name: create_day_change
-- What differs between the rows as they were kept and as they are, a line a row.
CREATE OR REPLACE TEMPORARY TABLE day_change AS
WITH was AS (
    SELECT id::UUID AS id, created_at, status, amount, currency, value, fingerprint FROM read_parquet($file)
), now AS (
    SELECT id, created_at, status, amount, currency, value, md5_number_lower(text) AS fingerprint, supplier_reference
    FROM day_row WHERE day = $day
)
SELECT coalesce(now.id, was.id) AS id, coalesce(now.currency, was.currency) AS currency, now.supplier_reference,
       CASE WHEN was.id IS NULL THEN 'came' WHEN now.id IS NULL THEN 'gone'
            WHEN was.status IN ('pending', 'processing') AND now.status NOT IN ('pending', 'processing')
                 AND was.amount = now.amount AND was.currency = now.currency THEN 'ended'
            ELSE 'changed' END AS kind,
       was.status AS was_status, now.status AS now_status, was.amount AS was_amount, now.amount AS now_amount,
       coalesce(now.value, 0) - coalesce(was.value, 0) AS moved,
       greatest(coalesce(was.amount, 0), coalesce(now.amount, 0)) AS amount
FROM was FULL JOIN now ON was.id = now.id AND was.created_at = now.created_at
WHERE was.fingerprint IS DISTINCT FROM now.fingerprint

-- name: ended_rows
SELECT id::VARCHAR, coalesce(supplier_reference, '') FROM day_change WHERE kind = 'ended'

-- name: leave_out
DELETE FROM day_change WHERE id::VARCHAR IN (SELECT unnest($ids))

-- name: changes
SELECT currency, count(*) FILTER (WHERE kind = 'came'), count(*) FILTER (WHERE kind = 'changed'),
       count(*) FILTER (WHERE kind = 'ended'), count(*) FILTER (WHERE kind = 'gone'),
       sum(moved)::DECIMAL(38,2), sum(amount)::DECIMAL(38,2)
FROM day_change GROUP BY currency ORDER BY currency

-- name: examples
SELECT id::VARCHAR, kind, was_status, was_amount::VARCHAR, now_status, now_amount::VARCHAR
FROM day_change WHERE currency = $currency ORDER BY id LIMIT $most
