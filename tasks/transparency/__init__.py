"""The public log: its keys, its publication, reading it back, witnesses and timestamps. `ledger.transparency` has the
formats, `sql.log` the outbox.
"""
