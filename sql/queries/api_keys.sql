-- API keys. Only the keyed hash of a secret is stored; rows are never deleted, so an old log line can be explained.

-- name: insert
INSERT INTO api_keys (key_id, key_hash, client_id, scopes, limits, expires_at)
VALUES (%(key_id)s, %(key_hash)s, %(client_id)s, %(scopes)s, %(limits)s, %(expires_at)s)

-- name: find
-- A key that may be used now: known, not expired, not revoked.
SELECT key_hash, client_id, scopes, expires_at, limits
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: revoke
-- The first revocation counts; its time is never overwritten.
UPDATE api_keys SET revoked_at = now() WHERE key_id = %(key_id)s AND revoked_at IS NULL

-- name: lock_valid
-- A key that can be rotated, held until the transaction ends: of two rotations at once the second waits.
SELECT client_id, scopes, limits, expires_at - created_at
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
FOR UPDATE

-- name: let_expire
-- Never later than it would have expired anyway.
UPDATE api_keys SET expires_at = least(expires_at, now() + %(grace)s) WHERE key_id = %(key_id)s

-- name: extend
-- A key that expired or was revoked stays so.
UPDATE api_keys SET expires_at = now() + %(life)s WHERE key_id = %(key_id)s AND revoked_at IS NULL AND expires_at > now()

-- name: add_event
INSERT INTO api_key_events (key_id, event, actor, detail) VALUES (%(key_id)s, %(event)s, %(actor)s, %(detail)s)

-- name: events
SELECT key_id, event, actor, detail, happened_at
FROM api_key_events
WHERE %(key_id)s::text IS NULL OR key_id = %(key_id)s
ORDER BY event_id

-- name: list
SELECT key_id, client_id, scopes, limits, created_at, expires_at, revoked_at FROM api_keys ORDER BY created_at, key_id
