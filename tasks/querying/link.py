"""Where the set-based engine meets PostgreSQL: read-only links, for scans and for what PostgreSQL computes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError
from sql.connection import NEW_LIMIT, connection_parameters
from sql.errors import hidden_by_policy
from sql.relations import Relation
from storage.engine import identifier, literal, load_extension

# The engine passes on PostgreSQL's text alone, no SQLSTATE. A server that speaks no English is refused before: by the
# plan, by `tasks.querying.query` and by the queries that are sent through psycopg.
_HIDDEN = re.compile(r'affected by row-level security policy for table \\?"+([^"\\]+)')
_NOT_UTF8 = "invalid byte sequence for encoding"
_SECRET = "ledger"  # noqa: S105  # the name of one


def link_name(number: int) -> str:
    """The catalogue name of a link in DuckDB."""
    return f"pg_{number}"


@contextmanager
def linked(
    connection: duckdb.DuckDBPyConnection, settings: Settings, links: int, timeout_s: float | None = None
) -> Iterator[None]:
    """Attach PostgreSQL ``links`` times, read-only: queries of one link share one session, so more work side by side.

    ``timeout_s`` bounds each statement there, None does not. Raises TransientError when PostgreSQL cannot be reached.
    """
    try:
        if links:
            with translated(settings):
                _attach(connection, settings, links, timeout_s)
        yield
    finally:
        for number in range(links):
            connection.execute(f"DETACH DATABASE IF EXISTS {link_name(number)}")


def _attach(connection: duckdb.DuckDBPyConnection, settings: Settings, links: int, timeout_s: float | None) -> None:
    """The links. The engine shows their address to any query, so the password is a secret, which it keeps to itself."""
    parts = conninfo_to_dict(settings.database_dsn)
    password = parts.pop("password", None)
    options = "TYPE postgres, READ_ONLY"
    load_extension(connection, "postgres_scanner")
    # Left to itself the engine lets PostgreSQL judge its conditions, by PostgreSQL's order of texts and of JSON, and
    # loses rows in ORDER BY ... NULLS FIRST LIMIT. What PostgreSQL may judge is written by us, in `postgres_query`.
    connection.execute("SET pg_experimental_filter_pushdown = false")
    if password is not None:
        secret = f"TYPE postgres, PASSWORD {literal(str(password))}"
        connection.execute(f"CREATE OR REPLACE SECRET {_SECRET} ({secret})")
        options += f", SECRET {_SECRET}"
    parameters = connection_parameters(settings.database_dsn, "archive scan")
    if timeout_s is not None:
        parameters["options"] += f" -c statement_timeout={milliseconds(timeout_s)}"
    for number in range(links):
        _attach_one(connection, {**parts, **parameters}, f"AS {link_name(number)} ({options})")


def _attach_one(connection: duckdb.DuckDBPyConnection, parameters: dict[str, Any], named: str) -> None:
    """One link. PostgreSQL 15 and 16 do not know the newest limit, and the engine makes sessions by itself: only a
    startup option reaches all of them.
    """
    newest = {**parameters, "options": f"{parameters['options']} -c {NEW_LIMIT}=0"}
    try:
        connection.execute(f"ATTACH {literal(make_conninfo(**newest))} {named}")
    except duckdb.Error as error:
        if NEW_LIMIT not in str(error).replace(newest["options"], ""):
            raise
        connection.execute(f"ATTACH {literal(make_conninfo(**parameters))} {named}")


def milliseconds(seconds: float) -> int:
    """A time limit as PostgreSQL takes it: whole milliseconds, at least 1, because 0 is not a limit."""
    return max(1, int(seconds * 1000))


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """The project's errors for the engine's inside the block: what is read there is our own query over PostgreSQL.

    ConfigError where a policy would hide rows, DataError for a text that is not UTF-8, TransientError for all else.
    """
    try:
        yield
    except duckdb.Error as error:
        if (hidden := hidden_rows(str(error))) is not None:
            raise ConfigError(hidden) from None
        if (broken := broken_text(str(error))) is not None:
            raise DataError(broken) from None
        raise TransientError(f"reading from PostgreSQL failed: {scrubbed(settings, str(error))}") from None


def hidden_rows(text: str) -> str | None:
    """What to do when PostgreSQL refused to read because a policy would hide rows; None for any other error's text."""
    table = _HIDDEN.search(text)
    return None if table is None else hidden_by_policy(table[1])


def broken_text(text: str) -> str | None:
    """What to do when PostgreSQL has a text that it cannot send; None for any other error's text."""
    if _NOT_UTF8 not in text:
        return None
    return f"a text in PostgreSQL is not UTF-8: {text[text.index(_NOT_UTF8) :].strip()}: correct it, or ask without it"


def scrubbed(settings: Settings, text: str) -> str:
    """The engine's message without the password: DuckDB repeats the connection string when it cannot connect."""
    password = conninfo_to_dict(settings.database_dsn).get("password")
    return text.replace(str(password), "***") if password else text


def linked_relation(link: int, relation: Relation) -> str:
    """A table expression of all rows of a relation, read through a link."""
    return f"{link_name(link)}.{identifier(relation.schema)}.{identifier(relation.name)}"


def postgres_query(link: int, query: str) -> str:
    """A table expression whose rows PostgreSQL computes from ``query`` in the session of a link."""
    return f"postgres_query({literal(link_name(link))}, {literal(query)})"
