"""Sealing a month: from then on its partition takes no write from anyone, until it is dropped or unsealed."""

from decimal import Decimal

from psycopg.sql import SQL, Identifier

from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.maintenance import keep_vacuum_out
from sql.queries import load
from sql.relations import Relation

_QUERIES = load("tiers")
_SEALS = (
    ("treasury_sealed_rows", "BEFORE INSERT OR UPDATE OR DELETE", "FOR EACH ROW"),
    ("treasury_sealed_truncate", "BEFORE TRUNCATE", "FOR EACH STATEMENT"),
)


def count_unfinished(connection: Connection, table: TieredTable, partition: Relation) -> int:
    """Rows of a partition whose status is not terminal, or is NULL; 0 for a table without a status."""
    if table.status_column is None:
        return 0
    query = SQL("SELECT count(*) FROM {} WHERE ({} = ANY (%s)) IS NOT TRUE").format(
        partition.identifier, Identifier(table.status_column)
    )
    return int(fetch_one(connection, query, (sorted(table.terminal_statuses),))[0])


def is_sealed(connection: Connection, partition: Relation) -> bool:
    """Return whether the seal of a partition is there, whole and enabled."""
    return bool(fetch_one(connection, _QUERIES["seal_is_whole"], {"relation": partition.oid})[0])


def row_versions(connection: Connection, partition: Relation) -> tuple[int, Decimal]:
    """The number of rows, and one number over the place and the writing transaction of each.

    Every write changes it, whoever writes and whatever the row reads afterwards: PostgreSQL never changes a row in
    place. So two equal answers say that the rows are the same without reading their columns.
    """
    query = SQL("SELECT count(*), coalesce(sum(hashtidextended(ctid, xmin::text::bigint)), 0) FROM {}")
    rows, versions = fetch_one(connection, query.format(partition.identifier))
    return rows, versions


def seal(connection: Connection, partition: Relation) -> None:
    """Put the seal on a partition. To be called within `sql.maintenance.run_ddl`. Safe to run again.

    Making a trigger waits for every writer of the partition to end and keeps new ones out until the commit. So what is
    read after it is final. The triggers are ENABLE ALWAYS: session_replication_role does not get around them.
    """
    with connection.transaction():
        keep_vacuum_out(connection, partition.identifier)
        for name, when, level in _SEALS:
            connection.execute(
                SQL("CREATE OR REPLACE TRIGGER {} {} ON {} {} EXECUTE FUNCTION treasury_refuse_sealed()").format(
                    Identifier(name), SQL(when), partition.identifier, SQL(level)
                )
            )
            connection.execute(
                SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(partition.identifier, Identifier(name))
            )


def unseal(connection: Connection, partition: Relation) -> None:
    """Take the seal off a partition. To be called within `sql.maintenance.run_ddl`. Safe to run again."""
    with connection.transaction():
        keep_vacuum_out(connection, partition.identifier)
        for name, _, _ in _SEALS:
            connection.execute(SQL("DROP TRIGGER IF EXISTS {} ON {}").format(Identifier(name), partition.identifier))
