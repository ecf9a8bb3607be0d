"""Whose rows a hold may keep: a wallet, a user or a client, where the table has or had a column that names them."""

from collections.abc import Sequence

from ledger.columns import Column
from ledger.holds import Subject
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.fields import read_fields
from sql.relations import Parents


def has_column(connection: Connection, table: TieredTable, subject: Subject) -> bool:
    """Whether rows of a table, in any tier, name such a subject. The column has that name, or had it before it was
    renamed or dropped.
    """
    columns = columns_of(connection, Parents.of(connection, table).hot)
    return any(column.name == subject.column for column in columns) or bool(_numbers(connection, table, subject))


def archived_columns(
    connection: Connection, table: TieredTable, subject: Subject, columns: Sequence[Column]
) -> tuple[str, ...]:
    """The names of those of an archived file's ``columns`` that name such a subject, whatever they are called there."""
    numbers = _numbers(connection, table, subject)
    return tuple(column.name for column in columns if column.name == subject.column or column.field_id in numbers)


def _numbers(connection: Connection, table: TieredTable, subject: Subject) -> frozenset[int]:
    """The numbers of the table's columns that have or had the subject's name."""
    fields = read_fields(connection, table, Parents.of(connection, table).hot)
    return frozenset(
        field.field_id
        for field in (*fields.living, *fields.dropped)
        if subject.column in (field.name, *field.former_names)
    )
