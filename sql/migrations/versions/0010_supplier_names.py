"""Which suppliers there are is a setting: the database holds the form of their names."""

from sql.migrate import run_file

revision = "0010"
down_revision = "0006"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0010_supplier_names.sql")
