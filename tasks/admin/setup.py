"""Making a database ready: the migrations, what every registered table needs besides its hot parent, the roles."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg

from config import Settings
from ledger.errors import ConfigError, DataError, TreasuryError
from ledger.scopes import CLIENT_SCOPES
from sql import migrate
from sql.connection import connect
from sql.errors import translate
from sql.partitions import prepare_table
from sql.roles import prepare_roles
from tasks.admin.keys import create_key
from tasks.admin.schedules import note_expected
from tasks.archiving.calendar import utc_today
from tasks.archiving.catalogue import register_months
from tasks.archiving.rollover import roll_table


def prepare_database(settings: Settings) -> list[str]:
    """Migrate to the newest revision, prepare every registered table and the roles. Safe to run again; then it only
    looks.

    Returns why a table or a role could not be prepared, a line each: one of them must not stop the work on the others.
    """
    problems = []
    migrate.upgrade(settings.database_dsn)
    with connect(settings.database_dsn, "setup") as connection:
        problems += prepare_roles(connection, settings)
        for table in settings.registry.values():
            try:
                prepare_table(connection, settings, table)
                register_months(connection, table)
            except TreasuryError as error:
                problems.append(str(error))
            except psycopg.Error as error:
                if connection.broken:
                    raise
                problems.append(f"table {table.name}: {translate(error)}")
    return problems


class Opened(NamedTuple):
    """An API key, and why a table takes no rows, a line each."""

    key: str
    problems: list[str]


def open_for(settings: Settings, client_id: str, key_life: timedelta | None = None) -> Opened:
    """Make the partitions that rows need from today on, and a key for ``client_id``. From now on the health checks
    expect what has a schedule to run.

    The database must be migrated. Each call makes a further key; None never expires. A table that is refused does not
    stop the others.
    """
    problems = []
    for table in settings.registry.values():
        try:
            roll_table(settings, table, utc_today())
        except (ConfigError, DataError) as error:
            problems.append(str(error))
    note_expected(settings)
    expires_at = None if key_life is None else datetime.now(UTC) + key_life
    return Opened(create_key(settings, client_id, CLIENT_SCOPES, expires_at), problems)
