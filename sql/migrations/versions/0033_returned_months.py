"""Archived months that went back to warm, and their former objects."""

from sql.migrate import run_file

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0033_returned_months.sql")
