"""Differences as large as the largest amount."""

from sql.migrate import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0012_difference.sql")
