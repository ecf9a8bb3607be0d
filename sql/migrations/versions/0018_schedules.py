"""Since when the outcomes of scheduled flows are noted."""

from sql.migrate import run_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0018_schedules.sql")
