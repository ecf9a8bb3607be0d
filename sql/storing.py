"""Counts of what PostgreSQL stored: they come from PostgreSQL, and fewer than were sent is an error by name."""

from typing import Any

import psycopg

from ledger.errors import NotStoredError
from sql.connection import Connection
from sql.queries import load
from sql.relations import Relation

_QUERIES = load("storing")


def check_stored(cursor: psycopg.Cursor[Any], sent: int, where: str) -> None:
    """Raise NotStoredError unless the statement that ``cursor`` ran last stored ``sent`` rows in ``where``.

    To be called within the transaction of the statement, so that what was stored is rolled back.
    """
    if cursor.rowcount != sent:
        raise NotStoredError(
            f"{where}: {sent} rows were sent and PostgreSQL stored {cursor.rowcount}: look for a trigger or a rule of "
            f"{where} that drops rows or sends them elsewhere"
        )


def alterers(connection: Connection, parent: Relation) -> list[str]:
    """The triggers and rules of ``parent`` and its partitions, not of this project, that can drop or change a row while
    it is stored. A line for each has the relation.
    """
    return [line for (line,) in connection.execute(_QUERIES["alterers"], {"parents": [parent.oid]})]
