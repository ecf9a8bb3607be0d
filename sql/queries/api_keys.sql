-- API keys. Only the keyed hash of a secret is stored; rows are never deleted, so an old log line can be explained.

-- name: insert
INSERT INTO api_keys (key_id, key_hash, client_id, scopes, expires_at)
VALUES (%(key_id)s, %(key_hash)s, %(client_id)s, %(scopes)s, %(expires_at)s)

-- name: find
-- A key that may be used now: known, not expired, not revoked.
SELECT key_hash, client_id, scopes, expires_at
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: revoke
-- The first revocation counts; its time is never overwritten.
UPDATE api_keys SET revoked_at = now() WHERE key_id = %(key_id)s AND revoked_at IS NULL

-- name: list
SELECT key_id, client_id, scopes, created_at, expires_at, revoked_at FROM api_keys ORDER BY created_at, key_id
