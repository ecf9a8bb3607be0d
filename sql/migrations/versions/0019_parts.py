"""Parts of a month, what its keys prove, and the columns of each table by number."""

from sql.migrate import run_file

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0019_parts.sql")
