"""The context of every check: the settings, the instant of the run, and few, short connections to PostgreSQL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Literal

from config import Settings
from ledger.tables import TieredTable
from sql.connection import Connection, check_session, connection_parameters
from sql.errors import translate
from sql.own_schema import require_catalogue
from sql.roles import API, AUDITOR

CONNECTIONS = 4  # at the same time: a check of the connections must not use them up
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 3000
LOCK_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class Context:
    """One run of the checks. ``now`` is aware UTC."""

    settings: Settings
    now: datetime
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(CONNECTIONS), repr=False)

    @property
    def today(self) -> date:
        """The UTC day of the run."""
        return self.now.date()

    @property
    def tables(self) -> list[TieredTable]:
        """Every registered table."""
        return list(self.settings.registry.values())

    def logins(self, connection: Connection) -> set[str]:
        """The roles, and whoever logs in by the addresses that are set. What a role of its own has, such as BYPASSRLS
        or a limit of connections, is not inherited.
        """
        addresses = (self.settings.api_database_url, self.settings.auditor_database_url)
        set_by_url = (conninfo_to_dict(url.get_secret_value()).get("user") for url in addresses if url is not None)
        named = {str(user) for user in set_by_url if user}
        return named | ({API, AUDITOR} if len(named) < len(addresses) else set()) | {connection.info.user}

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A read-only connection on which no statement and no lock is waited for long. Raises the project's errors."""
        dsn = self.settings.database_dsn
        parameters = connection_parameters(dsn, "health") | {"connect_timeout": str(CONNECT_TIMEOUT_S)}
        with self._slots:
            try:
                with psycopg.connect(dsn, autocommit=True, **parameters) as connection:
                    check_session(connection)
                    require_catalogue(connection)
                    _limit(connection)
                    yield connection
            except psycopg.Error as error:
                raise translate(error) from error


def _limit(connection: Connection) -> None:
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "default_transaction_read_only": "on",
    }
    for name, value in limits.items():
        connection.execute(SQL("SET {} = {}").format(SQL(name), Literal(str(value))))
