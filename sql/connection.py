"""How a connection to PostgreSQL is made: UTC, named, with time limits. Psycopg itself, for COPY, DDL and streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from ledger.errors import TransientError
from sql.errors import translate

Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10
_PARAMETERS = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    # Partition bounds are read back as text: the session's timezone must never be the server's.
    "options": "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1 -c standard_conforming_strings=on",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "45000",  # what was sent and is not acknowledged for so long: the network has cut it off
}


def connection_parameters(purpose: str) -> dict[str, Any]:
    """The libpq parameters that every connection of this project has; ``purpose`` shows in pg_stat_activity."""
    return {**_PARAMETERS, "application_name": f"treasury {purpose}"}


def limited(dsn: str, statement_timeout_ms: int) -> str:
    """``dsn`` so that `connect` gives up each statement, waiting for locks included, after ``statement_timeout_ms``."""
    return make_conninfo(dsn, options=f"-c statement_timeout={statement_timeout_ms}")


@contextmanager
def connect(dsn: str, purpose: str) -> Iterator[Connection]:
    """An autocommit connection; `with connection.transaction()` where one is wanted. Closed on the way out. Of the
    ``options`` of ``dsn`` those hold that this project does not set itself.

    Raises the project's errors: PostgreSQL's own are translated at this edge, wherever in the block they arise.
    """
    try:
        parameters = connection_parameters(purpose)
        parameters["options"] = f"{conninfo_to_dict(dsn).get('options', '')} {parameters['options']}".lstrip()
        with psycopg.connect(dsn, autocommit=True, **parameters) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error) from error


def fetch_one(connection: Connection, query: sql.Composed | str, parameters: Any = None) -> TupleRow:
    """The single row of ``query``. Raises TransientError when there is none: callers ask for rows that must exist."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise TransientError("PostgreSQL gave no row where one must be")
    return row
