"""Whose rows a hold may keep: a wallet, a user or a client, where the table has a column that names them."""

from ledger.holds import Subject
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.relations import Parents


def has_column(connection: Connection, table: TieredTable, subject: Subject) -> bool:
    """Whether rows of a table name such a subject."""
    columns = columns_of(connection, Parents.of(connection, table).hot)
    return any(column.name == subject.column for column in columns)
