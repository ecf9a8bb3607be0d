"""Relations by name, for tests: the project itself means them by OID."""

from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.partitions import Partition, list_partitions, monthly_partitions
from sql.relations import Parents, Relation, find_relation


def relation(connection: Connection, name: str) -> Relation:
    """The relation of that name, which must be there."""
    found = find_relation(connection, name)
    assert found is not None, name
    return found


def hot_partitions(connection: Connection, table: TieredTable) -> list[Partition]:
    """The partitions of the hot parent."""
    return list_partitions(connection, Parents.of(connection, table).hot)


def hot_months(connection: Connection, table: TieredTable) -> dict[Month, str]:
    """The hot months with the names of their partitions."""
    return _names(connection, Parents.of(connection, table).hot)


def warm_months(connection: Connection, table: TieredTable) -> dict[Month, str]:
    """The warm months with the names of their partitions."""
    return _names(connection, Parents.of(connection, table).warm)


def _names(connection: Connection, parent: Relation | None) -> dict[Month, str]:
    return {month: partition.name for month, partition in monthly_partitions(connection, parent).items()}
