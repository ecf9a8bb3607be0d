"""Which rows were imported: a row is known by its key, whatever a mapping makes of its other columns."""

from sql.migrate import run_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0021_import_identities.sql")
