"""What the store promised to keep, and where an archived month lies in the store."""

from sql.migrate import run_file

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0030_locks_and_deep.sql")
