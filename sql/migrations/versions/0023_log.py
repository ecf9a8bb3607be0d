"""The public log: events that wait for their publication, and how far the log was published."""

from sql.migrate import run_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0023_log.sql")
