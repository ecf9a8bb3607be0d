-- Idempotency keys: claimed by `store` in transactions.sql, in the same statement as the rows they stand for.

-- name: held
-- The answers that were given under some keys, for requests that found their key taken.
SELECT k.client_id, k.key, k.fingerprint, k.status_code, k.response
FROM unnest(%(client_ids)s::text[], %(keys)s::text[]) AS wanted(client_id, key)
JOIN idempotency_keys k ON k.client_id = wanted.client_id AND k.key = wanted.key

-- name: purge
-- Keys that are past their time, a batch of them; a row that a request holds just now is left for the next night.
DELETE FROM idempotency_keys
WHERE (client_id, key) IN (
    SELECT client_id, key FROM idempotency_keys
    WHERE created_at < now() - %(age)s
    ORDER BY created_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
