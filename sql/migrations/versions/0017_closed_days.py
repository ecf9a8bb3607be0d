"""What our side of a closed day was, and a guard for it."""

from sql.migrate import run_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0017_closed_days.sql")
