"""`treasury import`: history from delimited files into the hot and warm months, every line loaded or rejected.

In the order in which a line passes through: `mapping` (what the file means), `records` (bytes to records),
`instants` and `values` (columns to values), `rows` (values to a checked row), `loading` (rows to PostgreSQL),
`rejects` (what was not loaded, and why); `run` holds the steps together.
"""
