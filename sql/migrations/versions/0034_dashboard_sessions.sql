-- Sessions of the dashboard (docs/dashboard.md). The token of a session is in its cookie alone; only the hash is here, so
-- whoever reads this table cannot use a session.
CREATE TABLE dashboard_sessions (
    session_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256  bytea NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    key_id        varchar(16) NOT NULL REFERENCES api_keys,
    over_https    boolean NOT NULL,                   -- a session that began over plain HTTP is good for plain HTTP only
    address       varchar(64) NOT NULL,               -- the network, as in the access log
    browser       varchar(80) NOT NULL,
    created_at    timestamptz(3) NOT NULL DEFAULT now(),
    last_used_at  timestamptz(3) NOT NULL DEFAULT now(),
    expires_at    timestamptz(3) NOT NULL,
    revoked_at    timestamptz(3)
);
CREATE INDEX dashboard_sessions_key ON dashboard_sessions (key_id, session_id);
CREATE INDEX dashboard_sessions_expires ON dashboard_sessions (expires_at);
