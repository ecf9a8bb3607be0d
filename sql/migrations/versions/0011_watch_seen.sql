-- Rows from `settled_until` to `seen_until` have been evaluated, but for those that became visible since: their
-- transactions are not older than `seen_xid`, the oldest one that was under way when the last evaluation began.
ALTER TABLE watch_progress
    ADD COLUMN seen_until  timestamptz(3),
    ADD COLUMN seen_xid    xid8;
