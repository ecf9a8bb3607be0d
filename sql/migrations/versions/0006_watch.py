"""The watch over transactions: how far it has come, what it found, what is usual."""

from sql.migrate import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0006_watch.sql")
