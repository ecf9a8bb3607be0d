"""Values that no file of the archive can hold, looked for when a month cannot be archived: it must not stay sealed."""

from collections.abc import Iterator, Sequence

from psycopg import errors
from psycopg.sql import SQL, Composable, Identifier, Literal

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK
from ledger.columns import Column, ColumnKind
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.relations import Relation

LAST_INSTANT = "294247-01-10 04:00:54.775806+00"  # 64 bits of microseconds since 1970; PostgreSQL reaches further
_SEPARATORS = "U+001E or U+001F"


def unkeepable_value(
    connection: Connection, table: TieredTable, columns: Sequence[Column], relation: Relation
) -> str | None:
    """Return what the first row found has that cannot be archived, and the row; None where every value can be. Reads
    only.

    Where a CHECK rules out every such value PostgreSQL reads no row. Texts are searched by their bytes, because a
    collation for which different texts are equal refuses to be searched.
    """
    if (broken := _broken_text(connection, columns, relation)) is not None:
        return broken
    tests = [(test, f"{column.name} holds {what}") for column in columns for test, what in _tests(column)]
    if not tests:
        return None
    cases = SQL(" ").join(SQL("WHEN {} THEN {}").format(test, Literal(what)) for test, what in tests)
    query = SQL("SELECT CASE {} END, {} FROM {} WHERE {} LIMIT 1").format(
        cases, Identifier(table.key_column), relation.identifier, SQL(" OR ").join(test for test, _ in tests)
    )
    with connection.transaction():
        connection.execute("SET LOCAL constraint_exclusion = on")
        row = connection.execute(query).fetchone()
    return None if row is None else f"{row[0]} in the row {row[1]}"


def _tests(column: Column) -> Iterator[tuple[Composable, str]]:
    """Conditions that are true for a value that cannot be kept, each with what the value is."""
    name = Identifier(column.name)
    if column.kind is ColumnKind.DECIMAL:
        yield SQL("{} = 'NaN'").format(name), "NaN"
    elif column.kind is ColumnKind.TEXT:
        for mark in (FIELD_SEPARATOR, NULL_MARK):
            yield SQL('strpos({} COLLATE "C", {}) > 0').format(name, Literal(mark)), _SEPARATORS
    elif column.kind is ColumnKind.DATE:
        yield SQL("{} IN ('infinity', '-infinity')").format(name), "an infinite date"
    elif column.kind is ColumnKind.TIMESTAMP:
        yield SQL("{} IN ('infinity', '-infinity')").format(name), "an infinite time"
        yield SQL("{} > {}").format(name, Literal(LAST_INSTANT)), "a time after the year 294246"


def _broken_text(connection: Connection, columns: Sequence[Column], relation: Relation) -> str | None:
    """Return what PostgreSQL says of a text that is not UTF-8. Only a database without an encoding can have one: there
    every text is sent once, and thrown away.
    """
    names = [Identifier(column.name) for column in columns if column.kind in (ColumnKind.TEXT, ColumnKind.JSON)]
    if not names or connection.info.parameter_status("server_encoding") != "SQL_ASCII":
        return None
    query = SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(SQL(", ").join(names), relation.identifier)
    try:
        with connection.cursor() as cursor, cursor.copy(query) as copy:
            for _ in copy:
                pass
    except errors.CharacterNotInRepertoire as error:
        which = " or ".join(column.name for column in columns if column.kind is ColumnKind.TEXT)
        return f"{which} holds a text that is not UTF-8 ({error.diag.message_primary})"
    return None
