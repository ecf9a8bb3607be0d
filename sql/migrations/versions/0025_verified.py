"""When each object of the archive was last read again and found whole."""

from sql.migrate import run_file

revision = "0025"
down_revision = "0023"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0025_verified.sql")
