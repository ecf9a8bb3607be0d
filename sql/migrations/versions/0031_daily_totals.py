"""Daily totals of the months that have ended, and the marks of writes that make them out of date."""

from sql.migrate import run_file

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0031_daily_totals.sql")
