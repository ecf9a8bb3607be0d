"""The form of suppliers' names is known to hold for every row."""

from sql.migrate import run_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0010_supplier_names_valid.sql")
