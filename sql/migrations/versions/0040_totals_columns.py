"""Which columns kept daily totals were grouped by."""

from sql.migrate import run_file

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0040_totals_columns.sql")
