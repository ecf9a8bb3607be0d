"""The steps that flows are made of: plain functions that run without Prefect, joining `sql`, `storage` and files."""
