"""Monthly partitions: listing them, making them and attaching them to their parent."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.sql import SQL, Identifier, Literal

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from ledger.identifiers import id_bounds
from ledger.months import FIRST_YEAR, LAST_YEAR, Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.errors import translate
from sql.maintenance import run_ddl
from sql.queries import load
from sql.relations import Parents, Relation, find_in_schema
from sql.roles import grant_partition
from sql.storing import not_stored

_QUERIES = load("catalog")
_TIERS = load("tiers")
LIKE_ITS_PARENT = SQL("INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as the catalogue has it. ``lower`` and ``upper`` are UTC instants, None where unbounded.

    ``checks`` are the conditions of its CHECKs that hold for every row, as PostgreSQL prints them.
    """

    relation: Relation
    lower: datetime | None
    upper: datetime | None
    bound: str
    detach_pending: bool
    checks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The relation's name, without its schema. It means nothing: only the bounds do."""
        return self.relation.name

    @property
    def month(self) -> Month | None:
        """The month that the bounds are exactly; None when they are anything else. Never read from the name."""
        if self.lower is None or self.upper is None or not FIRST_YEAR <= self.lower.year < LAST_YEAR:
            return None
        month = Month.of(self.lower)
        return month if (self.lower, self.upper) == (month.lower, month.upper) else None

    def has_keys_of_month(self, table: TieredTable) -> bool:
        """Return whether a CHECK proves that every key is one of the month. It is the one that this project makes, or
        its part of the key alone. A table with other ids, or a partition that others made, may have none.
        """
        if self.month is None:
            return False
        first, last = id_bounds(self.month)
        time_column, key = (f'"?{re.escape(name)}"?' for name in (table.time_column, table.key_column))
        instant = "'[^']+'::timestamp with time zone"
        times = rf"\({time_column} IS NOT NULL\) AND \({time_column} >= {instant}\) AND \({time_column} < {instant}\)"
        keys = rf"\({key} >= '{first}'::uuid\) AND \({key} < '{last}'::uuid\)"
        return any(re.fullmatch(rf"\((?:{times} AND )?{keys}\)", check) for check in self.checks)


def list_partitions(connection: Connection, parent: Relation | None) -> list[Partition]:
    """The partitions of ``parent``, in whatever schema they are, in the order of their lower bounds."""
    if parent is None:
        return []
    rows = connection.execute(_QUERIES["partitions"], {"parent": parent.oid}).fetchall()
    return [
        Partition(Relation(oid, schema, name), lower, upper, bound, is_pending, tuple(checks))
        for oid, schema, name, lower, upper, bound, is_pending, checks in rows
    ]


def readable_partitions(connection: Connection, partitions: Sequence[Partition]) -> set[Partition]:
    """Those that this login may read directly: a partition that was just made has no privileges yet."""
    parameters = {"relations": [part.relation.oid for part in partitions]}
    readable = {oid for (oid,) in connection.execute(_QUERIES["readable"], parameters)}
    return {part for part in partitions if part.relation.oid in readable}


def rows_through(parent: Relation, table: TieredTable, partition: Partition) -> sql.Composed:
    """A query of the rows of one partition that needs no privilege but that on its parent."""
    query = SQL("SELECT * FROM {} WHERE tableoid IN (SELECT relid FROM pg_partition_tree({}::oid::regclass))").format(
        parent.identifier, Literal(partition.relation.oid)
    )
    for bound, test in ((partition.lower, ">="), (partition.upper, "<")):
        if bound is not None:
            query += SQL(" AND {} {} {}::timestamptz").format(
                Identifier(table.time_column), SQL(test), Literal(bound.isoformat())
            )
    return query


def monthly_partitions(connection: Connection, parent: Relation | None) -> dict[Month, Relation]:
    """The monthly partitions of ``parent`` by month; `tasks.archiving.rollover` reports irregular ones."""
    return {part.month: part.relation for part in list_partitions(connection, parent) if part.month is not None}


def ensure_partition(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> bool:
    """Make the hot partition of ``month`` unless the month exists in any tier; returns whether it was made.

    The table is made on its own, with a CHECK of its exact UTC bounds, and then attached. That takes no lock that a
    writer would notice, and PostgreSQL does not scan it. Safe to run again and from several processes. Raises DataError
    when a relation of that name is in the way.
    """

    def create() -> bool:
        parents = Parents.of(connection, table)
        if parents.hot is None:
            raise ConfigError(f"table {table.name}: there is no {table.hot_parent} in the database")
        if month in monthly_partitions(connection, parents.warm):
            return False
        claimed = connection.execute(
            "INSERT INTO archive_months (table_name, month, tier) VALUES (%s, %s, 'hot') ON CONFLICT DO NOTHING",
            (table.name, month.first_day),
        )
        known = {"table": table.name, "months": [month.first_day]}
        if claimed.rowcount == 0 and not fetch_one(connection, _TIERS["count_registered"], known)[0]:
            raise not_stored(1, 0, "archive_months")
        if month in monthly_partitions(connection, parents.hot) or claimed.rowcount == 0:
            return False
        create_partition(connection, table, parents.hot, month)
        return True

    return run_ddl(connection, settings, create)


def try_partition(
    connection: Connection, settings: Settings, table: TieredTable, month: Month
) -> tuple[bool, TreasuryError | None]:
    """Do as `ensure_partition`; where something is in the way of this month alone, return it in place of raising it.
    That is rows of the month in a DEFAULT partition, a partition of other bounds, or a relation that has the name.
    """
    try:
        return ensure_partition(connection, settings, table, month), None
    except psycopg.Error as error:
        return False, _of_the_month(connection, translate(error))
    except TreasuryError as error:
        return False, _of_the_month(connection, error)


def _of_the_month(connection: Connection, error: TreasuryError) -> TreasuryError:
    if isinstance(error, TransientError | ConfigError) or connection.broken:
        raise error
    return error


def create_partition(connection: Connection, table: TieredTable, hot: Relation, month: Month) -> None:
    """Make the partition of ``month`` and attach it to ``hot``. To be called within `sql.maintenance.run_ddl`.

    Raises DataError when a relation of that name is in the way.
    """
    name = table.partition(month)
    there = find_in_schema(connection, hot.schema, name)
    if there is not None:
        raise DataError(f"{table.name} {month}: a relation called {there} is in the way; it is not a partition of ours")
    partition = hot.sibling(name)
    make_like(connection, table, hot, partition, month)
    connection.execute(attach_statement(hot, partition, month))
    made = find_in_schema(connection, hot.schema, name)
    assert made is not None  # noqa: S101  # it was made above, in this transaction
    grant_partition(connection, made)


def make_like(connection: Connection, table: TieredTable, parent: Relation, made: Identifier, month: Month) -> None:
    """Make a table ``made`` that can become the partition of ``month``: like its parent, with a CHECK of its bounds."""
    connection.execute(
        SQL("CREATE TABLE {} (LIKE {} {} INCLUDING STORAGE)").format(made, parent.identifier, LIKE_ITS_PARENT)
    )
    connection.execute(
        SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({})").format(
            made, Identifier(f"{table.partition(month)}_bounds"), _bounds_check(table, month)
        )
    )


def attach(connection: Connection, table: TieredTable, parent: Relation, made: Relation, month: Month) -> Relation:
    """Make a table, in whatever schema, the partition of ``month``, under its usual name. To be called within
    `sql.maintenance.run_ddl`, under locks of the parent and the table. Raises DataError when a relation of that name is
    in the way.
    """
    name = table.partition(month)
    if (there := find_in_schema(connection, parent.schema, name)) is not None:
        raise DataError(f"{table.name} {month}: a relation called {there} is in the way; it is not a partition of ours")
    connection.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(made.identifier, Identifier(parent.schema)))
    moved = Relation(made.oid, parent.schema, made.name)
    connection.execute(SQL("ALTER TABLE {} RENAME TO {}").format(moved.identifier, Identifier(name)))
    partition = Relation(made.oid, parent.schema, name)
    connection.execute(attach_statement(parent, partition.identifier, month))
    grant_partition(connection, partition)
    return partition


def _bounds_check(table: TieredTable, month: Month) -> sql.Composed:
    """The CHECK that lets ATTACH skip its scan, and that makes "the id contains the month" a rule of the database."""
    time_column, key = Identifier(table.time_column), Identifier(table.key_column)
    check = SQL("{0} IS NOT NULL AND {0} >= {1} AND {0} < {2}").format(
        time_column, _bound(month), _bound(month.plus(1))
    )
    if not table.key_is_uuid7:
        return check
    first, last = id_bounds(month)
    return SQL("{} AND {} >= {} AND {} < {}").format(
        check, key, Literal(str(first)) + SQL("::uuid"), key, Literal(str(last)) + SQL("::uuid")
    )


def _bound(month: Month) -> sql.Composed:
    return SQL("{}::timestamptz").format(Literal(month.lower.strftime("%Y-%m-%d %H:%M:%S+00")))


def attach_statement(parent: Relation, partition: Identifier, month: Month) -> sql.Composed:
    """The statement that makes a table the partition of ``month``, by its UTC bounds."""
    return SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        parent.identifier, partition, _bound(month), _bound(month.plus(1))
    )
