"""Runs the numbered .sql migrations through Alembic. Safe to run again and from two processes at once."""

from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from alembic import command, op
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from ledger.errors import ConfigError
from sql.connection import SCHEMA, Connection, connect, session_parameters
from sql.errors import translate
from sql.queries import load

_LOCK = 0x7472_6561_0001  # "trea": one migration at a time in a database
_QUERIES = load("relations")
_MIGRATIONS = Path(str(resources.files("sql"))) / "migrations"


def upgrade(dsn: str) -> None:
    """Bring the database at ``dsn`` (postgresql://...) to the newest revision, creating what is missing.

    Raises ConfigError for a URL that is none, and the project's errors for PostgreSQL's.
    """
    try:
        url = make_url(dsn).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise ConfigError("TREASURY_DATABASE_URL: not of the form postgresql://user:password@host:port/name") from None
    try:
        _upgrade(url)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from None
        raise


def _upgrade(url: URL) -> None:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with connect(dsn, "migration") as connection:
        _refuse_elsewhere(connection)
    parameters = session_parameters(dsn, "migration")
    engine = create_engine(url, poolclass=NullPool, connect_args=parameters)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


def _refuse_elsewhere(connection: Connection) -> None:
    """Raise ConfigError when this project's tables are in another schema: no new, empty ones are made beside them."""
    row = connection.execute(_QUERIES["catalogue_elsewhere"], {"schema": SCHEMA}).fetchone()
    if row is not None:
        raise ConfigError(
            f"TREASURY_DATABASE_URL: the tables of this project are in schema {row[0]} of the database, and are "
            f"looked for in {SCHEMA} alone: move every table, view and function of it there, such as with "
            f"ALTER TABLE {row[0]}.archive_months SET SCHEMA {SCHEMA}"
        )


def run_file(name: str) -> None:
    """Execute one migration file; called by the revision of the same number."""
    statements = (_MIGRATIONS / "versions" / name).read_text(encoding="utf-8")
    # psycopg itself: without parameters a file of many statements runs as it is, and % means nothing in it.
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(statements)
