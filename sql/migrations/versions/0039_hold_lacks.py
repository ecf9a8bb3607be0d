"""Which months of a hold's scope had lost rows before it was placed."""

from sql.migrate import run_file

revision = "0039"
down_revision = "0036"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0039_hold_lacks.sql")
