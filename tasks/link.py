"""Where the set-based engine meets PostgreSQL: read-only links, for scans and for what PostgreSQL computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from config import Settings
from ledger.errors import TransientError
from sql.connection import connection_parameters
from storage.engine import literal


def link_name(number: int) -> str:
    """The catalogue name of a link in DuckDB."""
    return f"pg_{number}"


@contextmanager
def linked(connection: duckdb.DuckDBPyConnection, settings: Settings, links: int) -> Iterator[None]:
    """Attach PostgreSQL ``links`` times, read-only: queries of one link share one session, so more work side by side.

    Raises TransientError for whatever goes wrong with PostgreSQL inside the block, without the password that DuckDB's
    own message holds.
    """
    dsn = make_conninfo(settings.database_dsn, **connection_parameters("archive scan"))
    secret = str(conninfo_to_dict(dsn).get("password") or "")
    try:
        for number in range(links):
            connection.execute(f"ATTACH {literal(dsn)} AS {link_name(number)} (TYPE postgres, READ_ONLY)")
        yield
    except duckdb.Error as error:
        message = str(error).replace(dsn, "...")
        if secret:
            message = message.replace(secret, "...")
        raise TransientError(f"reading from PostgreSQL failed: {message}") from None
    finally:
        for number in range(links):
            connection.execute(f"DETACH DATABASE IF EXISTS {link_name(number)}")


def postgres_query(link: int, query: str) -> str:
    """A table expression whose rows PostgreSQL computes from ``query`` in the session of a link."""
    return f"postgres_query({literal(link_name(link))}, {literal(query)})"
