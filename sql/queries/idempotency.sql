-- Idempotency keys: claimed by `store` in transactions.sql, in the same statement as the rows they stand for.

-- name: held
-- The answers that were given under some keys, for requests that found their key taken.
SELECT k.client_id, k.key, k.fingerprint, k.status_code, k.response
FROM unnest(%(client_ids)s::text[], %(keys)s::text[]) AS wanted(client_id, key)
JOIN idempotency_keys k ON k.client_id = wanted.client_id AND k.key = wanted.key
