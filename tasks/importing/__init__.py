"""`treasury import`: history from delimited files into the hot and warm months, every line loaded or rejected.

A line passes through `mapping` (what the file means), `records` (bytes to records), `instants` and `values` (columns to
values). Then come `rows` (values to a checked row), `loading` (rows to PostgreSQL) and `rejects` (what was not loaded,
and why). `run` holds the steps together.
"""
