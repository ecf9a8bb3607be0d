"""One view of the objects that the archived months have."""

from sql.migrate import run_file

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0032_archive_objects.sql")
