"""Why a purchase failed, for its client."""

from sql.migrate import run_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0014_vend_failures.sql")
