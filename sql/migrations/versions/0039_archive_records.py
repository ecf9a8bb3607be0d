"""The records of holds, deletions and returns whose upload was begun."""

from sql.migrate import run_file

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0039_archive_records.sql")
