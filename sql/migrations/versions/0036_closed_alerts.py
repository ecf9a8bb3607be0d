"""Alerts that a person closes, and why."""

from sql.migrate import run_file

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0036_closed_alerts.sql")
