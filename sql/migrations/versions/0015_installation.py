"""Which database an archive belongs to."""

from sql.migrate import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0015_installation.sql")
