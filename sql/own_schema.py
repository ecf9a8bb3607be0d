"""The schema of this project's own tables and functions: making it, and moving into it what older versions made in
`public`. Ledger tables are not here: they stay where the application has them.
"""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from psycopg import errors
from psycopg.sql import SQL, Identifier

from ledger.errors import ConfigError
from sql.connection import LEDGER_SCHEMA, Connection, schema_of
from sql.maintenance import with_short_locks
from sql.queries import load

VERSIONS = Path(str(resources.files("sql"))) / "migrations" / "versions"
_QUERIES = load("own_schema")
_MADE = re.compile(r"^CREATE (TABLE|FUNCTION) (\w+)", re.MULTILINE)
_LOCK_TIMEOUT_MS = 100
_LOCK_ATTEMPTS = 60
SET_UP = "`treasury setup` sets it up"


def newest_revision() -> str:
    """The revision of the newest numbered file."""
    return max(file.name.partition("_")[0] for file in VERSIONS.glob("*.sql"))


def require_catalogue(connection: Connection) -> None:
    """Raise ConfigError unless the database has this project's tables. Every login may ask. Changes nothing."""
    schema = schema_of(connection)
    if _has_catalogue(connection, schema):
        return
    if _has_catalogue(connection, LEDGER_SCHEMA):
        raise ConfigError(f"the database is of an older version of Treasury: {SET_UP}")
    _refuse_elsewhere(connection, schema)
    raise ConfigError(f"the database has no tables of Treasury in its schema {schema}: {SET_UP}")


def require_set_up(connection: Connection) -> None:
    """Raise ConfigError unless the database has this project's tables, of this very version. Changes nothing."""
    require_catalogue(connection)
    revision, newest = _revision_in(connection, schema_of(connection)) or "", newest_revision()
    if revision > newest:
        raise ConfigError(f"the database is of a newer version of Treasury ({revision}, this one is {newest}): upgrade")
    if revision < newest:
        raise ConfigError(f"the database is of an older version of Treasury ({revision} of {newest}): {SET_UP}")


def make_schema(connection: Connection) -> None:
    """Make the schema, and move into it what an older version made in `public`. Safe to run again and to kill.

    Raises ConfigError for a schema of that name that is somebody else's, and for a set of this project's tables in
    another schema. For a role that may not make one, the error has the statement that an administrator must run.
    """
    schema = schema_of(connection)
    _refuse_elsewhere(connection, schema)
    _refuse_foreign(connection, schema)
    if connection.execute(_QUERIES["there"], {"schema": schema}).fetchone() is None:
        _create(connection, schema)
    revision = _revision_in(connection, LEDGER_SCHEMA)
    if revision is not None and connection.execute(_QUERIES["is_empty"], {"schema": schema}).fetchone():
        with_short_locks(connection, _LOCK_TIMEOUT_MS, _LOCK_ATTEMPTS, lambda: _move(connection, schema, revision))


def _create(connection: Connection, schema: str) -> None:
    try:
        connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
    except errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"TREASURY_DATABASE_URL: its role may not make the schema {schema}, an administrator must: "
            f'CREATE SCHEMA {schema} AUTHORIZATION "{connection.info.user}"'
        ) from error


def _has_catalogue(connection: Connection, schema: str) -> bool:
    return connection.execute(_QUERIES["has_catalogue"], {"schema": schema}).fetchone() is not None


def _revision_in(connection: Connection, schema: str) -> str | None:
    """The revision that this project's tables in ``schema`` are at; None where there are none."""
    if not _has_catalogue(connection, schema):
        return None
    query = SQL("SELECT version_num FROM {}").format(Identifier(schema, "alembic_version"))
    row = connection.execute(query).fetchone()
    return None if row is None else str(row[0])


def _refuse_elsewhere(connection: Connection, schema: str) -> None:
    """Raise ConfigError when this project's tables are in another schema: no new, empty ones are made beside them."""
    names = {"schema": schema, "former": LEDGER_SCHEMA}
    row = connection.execute(_QUERIES["catalogue_elsewhere"], names).fetchone()
    if row is not None:
        raise ConfigError(
            f"TREASURY_DATABASE_URL: the tables of this project are in schema {row[0]} of the database, and are "
            f"looked for in {schema}: set TREASURY_SCHEMA={row[0]}"
        )


def _refuse_foreign(connection: Connection, schema: str) -> None:
    row = connection.execute(_QUERIES["foreign"], {"schema": schema}).fetchone()
    if row is not None:
        raise ConfigError(
            f"the schema {schema} of the database is somebody else's (it has {row[0]}): "
            "set TREASURY_SCHEMA to a name that is free"
        )


def _move(connection: Connection, schema: str, revision: str) -> None:
    """Nothing is rewritten: rows, indexes, sequences, triggers and privileges go with their table."""
    for kind, name in (*made_until(revision), ("TABLE", "alembic_version")):
        there = _QUERIES["has_function" if kind == "FUNCTION" else "has_table"]
        if connection.execute(there, {"schema": LEDGER_SCHEMA, "name": name}).fetchone():
            call = SQL("()" if kind == "FUNCTION" else "")
            moving = SQL("ALTER {} {}{} SET SCHEMA {}")
            own = Identifier(LEDGER_SCHEMA, name)
            connection.execute(moving.format(SQL(kind), own, call, Identifier(schema)))
    for (statement,) in connection.execute(_QUERIES["redirect"], {"schema": schema}).fetchall():
        connection.execute(SQL(statement))


def made_until(revision: str) -> Iterator[tuple[str, str]]:
    """Yield what the numbered files up to ``revision`` make: TABLE or FUNCTION, and the name."""
    for file in sorted(VERSIONS.glob("*.sql")):
        if file.name.partition("_")[0] <= revision:
            for made in _MADE.finditer(file.read_text(encoding="utf-8")):
                yield made[1], made[2]
