"""The deletion of months past their policy: requests, approvals, what was deleted, certificates."""

from sql.migrate import run_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0027_deletions.sql")
