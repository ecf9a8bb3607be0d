"""Rate limits of a key's own, and what happened to every key."""

from sql.migrate import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0002_access.sql")
