"""Alerts, and the results of the health checks."""

from sql.migrate import run_file

revision = "0003"
down_revision = "0001"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0003_alerts.sql")
