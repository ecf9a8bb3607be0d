-- Sessions of the dashboard. Times are PostgreSQL's own: the processes of the API may differ by seconds.

-- name: insert
-- A session ends at the latest with its key.
INSERT INTO dashboard_sessions (token_sha256, key_id, over_https, address, browser, expires_at)
SELECT %(token_sha256)s, key_id, %(over_https)s, %(address)s, %(browser)s, least(expires_at, now() + %(life)s)
FROM api_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING session_id

-- name: find
-- A session that may be used now. The last column says whether its use must be noted: not each request is a write.
SELECT session_id, key_id, expires_at, last_used_at < now() - interval '60 seconds'
FROM dashboard_sessions
WHERE token_sha256 = %(token_sha256)s AND over_https = %(over_https)s
  AND revoked_at IS NULL AND expires_at > now() AND last_used_at > now() - %(idle)s

-- name: note_use
UPDATE dashboard_sessions SET last_used_at = now()
WHERE session_id = %(session_id)s AND revoked_at IS NULL AND expires_at > now() AND last_used_at > now() - %(idle)s

-- name: revoke
-- The first revocation counts. With a key it must be a session of that key.
UPDATE dashboard_sessions SET revoked_at = now()
WHERE session_id = %(session_id)s AND revoked_at IS NULL AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)

-- name: is_open
SELECT EXISTS (
    SELECT FROM dashboard_sessions
    WHERE session_id = %(session_id)s AND revoked_at IS NULL AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s))

-- name: list
-- Sessions, newest first, of one key or of all; open ones are those that a request could use now.
SELECT s.session_id, s.key_id, k.client_id, s.over_https, s.address, s.browser, s.created_at, s.last_used_at, s.expires_at,
       s.revoked_at,
       s.revoked_at IS NULL AND s.expires_at > now() AND s.last_used_at > now() - %(idle)s
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
FROM dashboard_sessions s JOIN api_keys k USING (key_id)
WHERE %(key_id)s::text IS NULL OR s.key_id = %(key_id)s
ORDER BY s.session_id DESC
LIMIT %(limit)s

-- name: purge
DELETE FROM dashboard_sessions
WHERE session_id IN (
    SELECT session_id FROM dashboard_sessions
    WHERE least(coalesce(revoked_at, expires_at), expires_at) < now() - %(age)s
    LIMIT %(limit)s)

-- name: exists
SELECT 1 FROM dashboard_sessions WHERE session_id = %(session_id)s
