"""Copies of archived months in a schema of their own, for a limited time."""

from sql.migrate import run_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0028_restored.sql")
