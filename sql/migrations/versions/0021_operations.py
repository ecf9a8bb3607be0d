"""Instants with the transactions that may still change what lies before them; days for which no statement is sent."""

from sql.migrate import run_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0021_operations.sql")
