"""Flash, MobileMart and Peach: one folder each, over one protocol. Imports only `config` and `ledger`.

A folder holds the supplier's client, its messages, its answer codes as a table, and a simulator that behaves like it.
Amounts are exact from edge to edge; secrets, PINs and people's numbers are never logged and never kept.
"""
