"""Reconciliation: runs, matches, breaks, their resolutions, closed periods, and the audit chain."""

from sql.migrate import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0005_reconciliation.sql")
