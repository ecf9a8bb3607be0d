"""Breaks: confirmed matches, whose account decided, four eyes for closing, intake of statements in the audit chain."""

from sql.migrate import run_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0008_breaks.sql")
