-- Rate limits of a key's own, and what happened to every key.

ALTER TABLE api_keys ADD COLUMN limits jsonb NOT NULL DEFAULT '{}'     -- by policy: {"transactions": "600/minute"}
    CONSTRAINT api_keys_limits CHECK (jsonb_typeof(limits) = 'object');

-- Who made, rotated and revoked a key, in order; rows are only added. Keys made before this table have no first row.
CREATE TABLE api_key_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id      varchar(16) NOT NULL REFERENCES api_keys,
    event       text NOT NULL CHECK (event IN ('created', 'rotated', 'revoked')),
    actor       text NOT NULL,                    -- the operating system's account and machine, as name@host
    detail      jsonb NOT NULL DEFAULT '{}',
    happened_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX api_key_events_key ON api_key_events (key_id, event_id);

-- Trigger functions are called by triggers alone, which need no privilege for it.
REVOKE EXECUTE ON FUNCTION treasury_guard_history(), treasury_refuse_sealed() FROM PUBLIC;
