-- The records of holds, deletions and returns. See sql/records.py.

-- name: begin
INSERT INTO archive_records (object_key) VALUES (%(object_key)s)

-- name: known
-- Those that were begun, and those of what happened: a rebuilt database has these from the log alone.
SELECT object_key FROM archive_records
UNION SELECT object_key FROM holds
UNION SELECT object_key FROM hold_decisions WHERE object_key IS NOT NULL
UNION SELECT order_key FROM deletions
UNION SELECT certificate_key FROM deletions WHERE certificate_key IS NOT NULL
UNION SELECT page_key FROM deletions WHERE page_key IS NOT NULL
UNION SELECT record_key FROM month_returns
