"""A superseded statement may count again."""

from sql.migrate import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0013_statement_again.sql")
