-- PostgreSQL's clock, which is the clock of the ledger. See sql/clock.py.

-- name: now
SELECT date_trunc('milliseconds', clock_timestamp())
