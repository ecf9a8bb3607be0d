"""What the log says of the tree of an archived month, and of how its rows are laid out."""

from sql.migrate import run_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0022_trees.sql")
