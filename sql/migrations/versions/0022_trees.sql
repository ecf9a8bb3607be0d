-- The tree of an archived month, and how its rows are laid out: what the event of the log says of it.
ALTER TABLE archive_months
    ADD COLUMN tree jsonb,    -- key, size_bytes and sha256 of the object with the chunks' roots; leaves, root
    ADD COLUMN layout jsonb;  -- ledger.month_tree.Layout
