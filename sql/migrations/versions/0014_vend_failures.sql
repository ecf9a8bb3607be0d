-- Why purchases failed, beside their rows: a row of the ledger has no column for it, and nobody asks for long. The sweep
-- deletes what is older than `failures_kept_days`.
CREATE TABLE vend_failures (
    row_id     uuid PRIMARY KEY,
    client_id  text NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('declined', 'invalid', 'unavailable', 'not_sold')),
    failed_at  timestamptz(3) NOT NULL
);
CREATE INDEX vend_failures_age ON vend_failures (failed_at);
