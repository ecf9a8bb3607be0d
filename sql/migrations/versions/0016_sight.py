"""The trigger functions mean PostgreSQL's own functions and operators, whatever the writer's search path says."""

from sql.migrate import run_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply the .sql file of the same number."""
    run_file("0016_sight.sql")
