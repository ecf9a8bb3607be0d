"""A trigger that drops every row that is stored in a table, and says nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier


@contextmanager
def dropping(connection: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Within the block PostgreSQL stores no new row of ``table``. ``connection`` commits at once."""
    connection.execute("CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$")
    connection.execute(
        SQL("CREATE TRIGGER dropping BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION drop_row()").format(
            Identifier(table)
        )
    )
    try:
        yield
    finally:
        connection.execute("DROP FUNCTION drop_row() CASCADE")
