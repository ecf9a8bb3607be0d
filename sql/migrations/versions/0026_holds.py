"""Legal holds and how they are released."""

from sql.migrate import run_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0026_holds.sql")
