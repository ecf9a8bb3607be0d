"""What a reader needs to read little of an archived file: footers, hashes of pieces, filters of columns."""

from sql.migrate import run_file

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0029_lookups.sql")
