"""Making a database ready: the migrations, then what every registered table needs besides its hot parent."""

from config import Settings
from sql import migrate
from sql.connection import connect
from sql.partitions import prepare_table
from tasks.months import register_months


def prepare_database(settings: Settings) -> None:
    """Migrate to the newest revision and prepare every registered table. Safe to run again; then it only looks.

    Raises ConfigError for a registered table that the database does not have, or that does not fit its description.
    """
    migrate.upgrade(settings.database_dsn)
    with connect(settings.database_dsn, "setup") as connection:
        for table in settings.registry.values():
            prepare_table(connection, settings, table)
            register_months(connection, table)
