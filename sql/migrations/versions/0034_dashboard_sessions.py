"""Sessions of the dashboard."""

from sql.migrate import run_file

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0034_dashboard_sessions.sql")
