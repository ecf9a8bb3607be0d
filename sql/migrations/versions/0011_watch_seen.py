"""What of the overlap the watch has evaluated already, so that each row is evaluated once."""

from sql.migrate import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0011_watch_seen.sql")
