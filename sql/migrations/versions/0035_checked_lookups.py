"""Lookups whose parts are checked where they are read."""

from sql.migrate import run_file

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0035_checked_lookups.sql")
