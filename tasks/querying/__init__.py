"""Queries over all tiers: the auditor's SQL, and the link from DuckDB to PostgreSQL."""
