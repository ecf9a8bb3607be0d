"""Making a database ready: the migrations, what every registered table needs beside its hot parent, the roles."""

from typing import NamedTuple

import psycopg

from config import Settings
from ledger.errors import ConfigError, DataError, TreasuryError
from sql import migrate
from sql.clock import require_clock
from sql.connection import connect
from sql.errors import translate
from sql.obstacles import unlogged_relations
from sql.preparation import prepare_table
from sql.roles import own_relations, prepare_roles
from tasks.admin.schedules import note_expected
from tasks.admin.session_key import replace_session_key
from tasks.archiving.calendar import utc_today
from tasks.archiving.catalogue import register_months
from tasks.archiving.rollover import roll_table


def prepare_database(settings: Settings) -> list[str]:
    """Migrate to the newest revision, prepare every registered table and the roles. Safe to run again; then it only
    looks.

    Returns why a table or a role could not be prepared, a line each: one of them must not stop the work on the others.
    Raises ClockError, before anything is changed, when this machine's clock is not PostgreSQL's.
    """
    problems = []
    check_clock(settings)
    migrate.upgrade(settings.database_dsn)
    with connect(settings.database_dsn, "setup") as connection:
        problems += prepare_roles(connection, settings)
        problems += unlogged_relations(connection, own_relations(connection)).values()
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


def check_clock(settings: Settings) -> None:
    """Raise ClockError when this machine's clock is not PostgreSQL's: see `clock_tolerance_s`."""
    with connect(settings.database_dsn, "clock") as connection:
        require_clock(connection, settings.clock_tolerance_s)


class Opened(NamedTuple):
    """An API key, and why a table takes no rows, a line each."""

    key: str
    problems: list[str]


def open_for(settings: Settings, client_id: str) -> Opened:
    """Make the partitions that rows need from today on, and the key of this session for ``client_id``. From now on the
    health checks expect what has a schedule to run.

    The database must be migrated. The key of a former session of this home is revoked (`session_key`). A table that is
    refused does not stop the others.
    """
    problems = []
    for table in settings.registry.values():
        try:
            roll_table(settings, table, utc_today())
        except (ConfigError, DataError) as error:
            problems.append(str(error))
    note_expected(settings)
    return Opened(replace_session_key(settings, client_id), problems)
