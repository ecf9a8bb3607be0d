"""What a hold cannot keep any more, and parts of which every row is held."""

from sql.migrate import run_file

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0037_holds.sql")
