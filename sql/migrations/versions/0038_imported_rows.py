"""What the import knows of a row goes when the row is deleted with a certificate."""

from sql.migrate import run_file

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0038_imported_rows.sql")
