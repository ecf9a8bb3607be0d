"""Which rows were imported: a row is known by its key, whatever a mapping makes of its other columns."""

from sql.migrate import run_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0020_import_identities.sql")
