"""The guards of ledger tables, and the catalogue of archived months."""

from sql.migrate import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0001_ledger.sql")
