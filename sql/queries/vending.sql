-- Rows on their way through a supplier. Braces are filled in as in transactions.sql; hot is named before warm.
--
-- A row is a vend when its supplier_reference is the one that follows from its id. Nothing is sent to a supplier before
-- `claim` has committed, so a row that is still pending was never sent, and one that is processing may have been.

-- name: find
-- One row as a purchase is made from it.
SELECT {columns} FROM {hot} WHERE {id} = %(id)s AND {time} = %(time)s
UNION ALL
SELECT {columns} FROM {warm} WHERE {id} = %(id)s AND {time} = %(time)s

-- name: find_by_reference
-- The row that a supplier knows by a reference that contains its millisecond; `first` and `last` are the ids of that.
SELECT {columns}, client_id, user_id, wallet_id FROM {hot}
WHERE {time} = %(time)s AND {id} BETWEEN %(first)s AND %(last)s AND supplier_reference = %(reference)s
UNION ALL
SELECT {columns}, client_id, user_id, wallet_id FROM {warm}
WHERE {time} = %(time)s AND {id} BETWEEN %(first)s AND %(last)s AND supplier_reference = %(reference)s

-- name: claim
-- From pending to processing: of any number of callers one gets the row, and only that one may buy.
WITH hot AS (
    UPDATE {hot} SET status = 'processing', supplier_reference = %(reference)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND status = 'pending'
    RETURNING {columns}
), warm AS (
    UPDATE {warm} SET status = 'processing', supplier_reference = %(reference)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND status = 'pending'
    RETURNING {columns}
)
SELECT * FROM hot UNION ALL SELECT * FROM warm

-- name: finish
-- The end of a vend. `expected` is the status that the row must have: processing, or pending when it was never sent.
-- `failure` is the reason for its client why nothing was sold; null when it was. A reason that was not stored raises an
-- error, as in `store` of transactions.sql: then the row has not ended either.
WITH hot AS (
    UPDATE {hot} SET status = %(status)s, supplier_transaction_id = coalesce(%(transaction_id)s, supplier_transaction_id),
        commission = %(commission)s, processed_at = %(now)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND status = %(expected)s
      AND supplier_reference IS NOT DISTINCT FROM %(reference)s
    RETURNING {id}, client_id
), warm AS (
    UPDATE {warm} SET status = %(status)s, supplier_transaction_id = coalesce(%(transaction_id)s, supplier_transaction_id),
        commission = %(commission)s, processed_at = %(now)s, updated_at = greatest(updated_at, %(now)s)
    WHERE {id} = %(id)s AND {time} = %(time)s AND status = %(expected)s
      AND supplier_reference IS NOT DISTINCT FROM %(reference)s
    RETURNING {id}, client_id
), ended AS (
    SELECT * FROM hot UNION ALL SELECT * FROM warm
), failed AS (
    INSERT INTO vend_failures (row_id, client_id, reason, failed_at)
    SELECT {id}, client_id, %(failure)s, %(now)s FROM ended WHERE %(failure)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING row_id
)
SELECT {id} FROM ended
-- PostgreSQL evaluates the condition once, also where another process has ended the row and there is nothing to select.
WHERE CASE WHEN %(failure)s::text IS NULL OR NOT EXISTS (SELECT FROM ended) OR EXISTS (SELECT FROM failed)
             OR EXISTS (SELECT FROM vend_failures WHERE row_id = %(id)s) THEN true
           ELSE format('{not_stored}: %%s of vend_failures', %(id)s::text)::boolean END

-- name: open
-- The next page of rows that have been under way for a while, oldest first.
SELECT * FROM (
    (SELECT {columns} FROM {hot}
     WHERE status = ANY('{{pending,processing}}') AND supplier_reference IS NOT NULL AND updated_at < %(before)s
       AND {time} >= %(after_time)s AND ({time}, {id}) > (%(after_time)s, %(after_id)s)
     ORDER BY {time}, {id} LIMIT %(limit)s)
    UNION ALL
    (SELECT {columns} FROM {warm}
     WHERE status = ANY('{{pending,processing}}') AND supplier_reference IS NOT NULL AND updated_at < %(before)s
       AND {time} >= %(after_time)s AND ({time}, {id}) > (%(after_time)s, %(after_id)s)
     ORDER BY {time}, {id} LIMIT %(limit)s)
) AS page
ORDER BY {time}, {id}
LIMIT %(limit)s

-- name: failure
-- Why a purchase failed. Null for `client_id` sees every client's.
SELECT row_id, reason, failed_at FROM vend_failures
WHERE row_id = %(row_id)s AND (client_id = %(client_id)s OR %(client_id)s::text IS NULL)

-- name: forget_failures
DELETE FROM vend_failures WHERE failed_at < %(before)s
