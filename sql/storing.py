"""Counts of what PostgreSQL stored: they come from PostgreSQL, and fewer than were sent is an error by name."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ledger.counts import counted
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
        raise not_stored(sent, cursor.rowcount, where)


def check_counted(cursor: psycopg.Cursor[Any], where: str) -> None:
    """Raise NotStoredError unless both counts that the statement of ``cursor`` gives are equal: rows sent, and stored.

    For statements that choose themselves what they store in ``where``. To be called within their transaction.
    """
    (sent, stored) = cursor.fetchone() or (1, 0)
    if stored != sent:
        raise not_stored(sent, stored, where)


def fetch_stored(connection: Connection, query: str, parameters: Mapping[str, Any], where: str) -> TupleRow:
    """What an INSERT of one row into ``where`` returns. Raises NotStoredError when PostgreSQL stored no row.

    To be called within the transaction of the statement, so that what was stored is rolled back.
    """
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise not_stored(1, 0, where)
    return row


def not_stored(sent: int, stored: int, where: str) -> NotStoredError:
    """The error of a statement that stored ``stored`` rows in ``where``, of the ``sent`` ones."""
    rows = counted(sent, "row was", "rows were")
    return NotStoredError(
        f"{where}: {rows} sent and PostgreSQL stored {stored}: look for a trigger or a rule of {where} that drops rows "
        "or sends them elsewhere"
    )


def alterers(connection: Connection, parent: Relation) -> list[str]:
    """The triggers and rules of ``parent`` and its partitions, not of this project, that can drop or change a row while
    it is stored. A line for each has the relation.
    """
    return [line for (line,) in connection.execute(_QUERIES["alterers"], {"parents": [parent.oid]})]
