"""Records of rows that the statement ended."""

from sql.migrate import run_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0007_settled.sql")
