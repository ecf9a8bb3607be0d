"""Which suppliers there are is a setting: the database holds the form of their names."""

from sql.migrate import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0009_supplier_names.sql")
