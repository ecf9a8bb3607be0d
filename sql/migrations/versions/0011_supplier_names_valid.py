"""The form of suppliers' names is known to hold for every row."""

from sql.migrate import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0011_supplier_names_valid.sql")
