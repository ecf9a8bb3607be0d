"""Suppliers' statements: what came in, and what was refused."""

from sql.migrate import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0004_statements.sql")
