"""Connections to PostgreSQL: UTC, named, with time limits, and with nothing between it and the rows.

What a session must be is written here once, for psycopg, for the API's pools, for Alembic and for the engine's link.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from config.settings import OWN_SCHEMA, SCHEMA_OPTION
from ledger.errors import ConfigError, ConflictError, DataError, TransientError
from sql.errors import translate

Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10
LEDGER_SCHEMA = "public"  # where ledger tables are made that the application has not made itself
# A startup option outranks what ALTER ROLE and ALTER DATABASE have set.
PINNED: Mapping[str, str] = MappingProxyType(
    {
        "row_security": "off",  # where a policy would hide rows PostgreSQL raises an error instead
        # This project's own tables first; pg_temp last, so that no temporary table hides one. `_pinned` puts the schema
        # of the settings in the place of the default.
        "search_path": f"{OWN_SCHEMA},{LEDGER_SCHEMA},pg_temp",
        "gin_fuzzy_search_limit": "0",  # any other value leaves out rows that a GIN index finds
        # Partition bounds are read back as text: the session's timezone must never be the server's.
        "TimeZone": "UTC",
        "DateStyle": "ISO,YMD",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
        "xmlbinary": "base64",
        "standard_conforming_strings": "on",
        "array_nulls": "on",
        "transform_null_equals": "off",
        "quote_all_identifiers": "off",
        "default_transaction_isolation": "read committed",
        # The archive, and its signed log above all, holds what was committed here: a server that fails must not
        # forget one that it has answered.
        "synchronous_commit": "on",
    }
)
# What the address of the database may set otherwise, a role or a database may not: a move takes as long as it takes.
_LIMITS = " ".join(
    f"-c {name}=0"
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
)
# PostgreSQL 15 and 16 refuse it as a startup option: it is set in the session where there is one.
NEW_LIMIT = "transaction_timeout"
LIFT_NEW_LIMIT = """
    CASE WHEN current_setting('transaction_timeout', true) <> '0' THEN
        (SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout' AND source <> 'client')
    END
"""
# Only a superuser may set these, so they are looked at: under any other value rows are left out or guards are off.
_SERVERS = MappingProxyType(
    {
        "session_replication_role": ("origin", "local"),
        "zero_damaged_pages": ("off",),
        "ignore_checksum_failure": ("off",),
    }
)
_FOUND = sql.SQL("SELECT {}, {}").format(
    sql.SQL(", ").join(sql.SQL("current_setting({}, true)").format(sql.Literal(name)) for name in (*PINNED, *_SERVERS)),
    sql.SQL(LIFT_NEW_LIMIT),
)


_OPTION = re.compile(rf"-c\s*{re.escape(SCHEMA_OPTION)}=(\S+)")


def _pinned(schema: str) -> Mapping[str, str]:
    """`PINNED` where this project's own tables are in ``schema``."""
    return {**PINNED, "search_path": f"{schema},{LEDGER_SCHEMA},pg_temp"}


def _options(schema: str) -> str:
    pinned = {**_pinned(schema), SCHEMA_OPTION: schema}
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in pinned.items())


_PARAMETERS = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    "client_encoding": "UTF8",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "45000",  # what was sent and is not acknowledged for so long: the network has cut it off
}


def connection_parameters(dsn: str, purpose: str) -> dict[str, Any]:
    """The libpq parameters that every connection of this project to ``dsn`` has, in place of the ``options`` of the
    address. Its ``connect_timeout`` holds. ``purpose`` shows in pg_stat_activity.
    """
    options = f"{_LIMITS} {_options(schema_named(dsn))}"
    parameters = {**_PARAMETERS, "options": options, "application_name": f"treasury {purpose}"}
    patience_s = conninfo_to_dict(dsn).get("connect_timeout")
    return parameters if patience_s is None else {**parameters, "connect_timeout": str(patience_s)}


def patient(dsn: str, connect_timeout_s: float) -> str:
    """The URL ``dsn`` so that each connection to it may take ``connect_timeout_s``, unless it says itself how long.

    A text that is not a URL comes back as it is: `connect` names what is wrong with it.
    """
    try:
        if "connect_timeout" in conninfo_to_dict(dsn):
            return dsn
    except psycopg.ProgrammingError:
        return dsn
    return f"{dsn}{'&' if '?' in dsn else '?'}connect_timeout={connect_timeout_s:.0f}"


def schema_named(dsn: str) -> str:
    """The schema of this project's own tables in the database at ``dsn``: `Settings.database_dsn` carries it."""
    named = _OPTION.search(str(conninfo_to_dict(dsn).get("options") or ""))
    return named[1] if named else OWN_SCHEMA


def schema_of(connection: psycopg.Connection[TupleRow] | psycopg.AsyncConnection[TupleRow]) -> str:
    """The schema of this project's own tables that ``connection`` was made for."""
    named = _OPTION.search(connection.info.get_parameters().get("options") or "")
    return named[1] if named else OWN_SCHEMA


def limited(dsn: str, statement_timeout_ms: int) -> str:
    """``dsn`` so that `connect` gives up each statement, waiting for locks included, after ``statement_timeout_ms``."""
    options = f"-c {SCHEMA_OPTION}={schema_named(dsn)} -c statement_timeout={statement_timeout_ms}"
    return make_conninfo(dsn, options=options)


def session_parameters(dsn: str, purpose: str) -> dict[str, Any]:
    """`connection_parameters` for ``dsn``, with the ``options`` that it has itself, but for those that are pinned."""
    parameters = connection_parameters(dsn, purpose)
    own = conninfo_to_dict(dsn).get("options") or ""
    parameters["options"] = f"{_LIMITS} {own} {_options(schema_named(dsn))}"
    return parameters


@contextmanager
def connect(dsn: str, purpose: str) -> Iterator[Connection]:
    """An autocommit connection; `with connection.transaction()` where one is wanted. Closed on the way out. Of the
    ``options`` of ``dsn`` those hold that this project does not set itself.

    Raises the project's errors: PostgreSQL's own are translated at this edge, wherever in the block they arise. Raises
    ConfigError for a session that does not see every row as it is.
    """
    try:
        with psycopg.connect(dsn, autocommit=True, **session_parameters(dsn, purpose)) as connection:
            check_session(connection)
            yield connection
    except psycopg.Error as error:
        raise translate(error) from error


def check_session(connection: Connection) -> None:
    """Raise ConfigError when the session is not what it was asked to be, naming the setting. Lift the one limit that is
    no startup option.

    A pooler may leave the startup options out, and libpq sends PGTZ and PGDATESTYLE after them.
    """
    check_found(fetch_one(connection, _FOUND)[:-1], schema_of(connection))


async def check_session_of(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    """`check_session` for a connection of an asynchronous pool."""
    row = await (await connection.execute(_FOUND)).fetchone()
    check_found((row or ())[:-1], schema_of(connection))


def check_found(values: TupleRow, schema: str = OWN_SCHEMA) -> None:
    """Raise ConfigError for the first setting whose value is another than the one that is needed."""
    allowed = {name: (value,) for name, value in _pinned(schema).items()} | dict(_SERVERS)
    for (name, wanted), value in zip(allowed.items(), values, strict=True):
        if value is not None and _plain(value) not in map(_plain, wanted):
            raise ConfigError(
                f"PostgreSQL: {name} is {value!r} in this session, must be {wanted[0]!r}: rows would be hidden, read "
                "otherwise or lost. Look at ALTER ROLE and ALTER DATABASE ... SET, at the server's configuration, at "
                "PGTZ and PGDATESTYLE, and at a pooler that drops startup options"
            )


def _plain(value: str) -> str:
    return value.replace(" ", "").lower()


def is_rolled_back(connection: Connection, error: Exception) -> bool:
    """Whether it is sure that the transaction of ``error`` was rolled back: PostgreSQL, or this project, has refused
    it. Of a session that is lost nobody knows. To be called before the error is translated.
    """
    if isinstance(error, psycopg.Error):
        return error.sqlstate is not None and not connection.closed
    return isinstance(error, DataError | ConfigError | ConflictError)


def fetch_one(connection: Connection, query: sql.Composed | str, parameters: Any = None) -> TupleRow:
    """The single row of ``query``. Raises TransientError when there is none: callers ask for rows that must exist."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise TransientError("PostgreSQL gave no row where one must be")
    return row
