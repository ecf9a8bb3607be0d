"""Runs the numbered .sql migrations through Alembic. Safe to run again and from two processes at once."""

from typing import Any

import psycopg
from alembic import command, op
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from ledger.errors import ConfigError
from sql.connection import LIFT_NEW_LIMIT, connect, schema_named, session_parameters
from sql.errors import translate
from sql.own_schema import VERSIONS, make_schema

_LOCK = 0x7472_6561_0001  # "trea": one migration at a time in a database


def upgrade(dsn: str) -> None:
    """Bring the database at ``dsn`` (postgresql://...) to the newest revision, creating what is missing.

    Raises ConfigError for a URL that is none, and the project's errors for PostgreSQL's.
    """
    try:
        url = make_url(dsn).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise ConfigError("TREASURY_DATABASE_URL: not of the form postgresql://user:password@host:port/name") from None
    try:
        _upgrade(dsn, url)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from None
        raise


def _upgrade(dsn: str, url: URL) -> None:
    parameters = session_parameters(dsn, "migration")
    engine = create_engine(url, poolclass=NullPool, connect_args=parameters)
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    with engine.connect() as connection:
        connection.execute(text(f"SELECT {LIFT_NEW_LIMIT}"))
        connection.commit()
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        with connect(dsn, "migration") as own:
            make_schema(own)
        config.attributes.update(connection=connection, schema=schema_named(dsn))
        command.upgrade(config, "head")
        connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


def run_file(name: str) -> None:
    """Execute one migration file; called by the revision of the same number."""
    statements = (VERSIONS / name).read_text(encoding="utf-8")
    # psycopg itself: without parameters a file of many statements runs as it is, and % means nothing in it.
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(statements)
