"""Everything object storage: the store, Parquet files, manifests, and queries over archived months.

PostgreSQL does not belong here; `tasks/` joins the two.
"""
