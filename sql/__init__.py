"""Everything PostgreSQL: migrations, named queries in .sql files, the loader, connections, partitions, digests.

Object storage does not belong here; `tasks/` joins the two.
"""
