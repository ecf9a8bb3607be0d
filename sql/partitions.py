"""Parents and monthly partitions: making them, listing them, moving one from hot to warm."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import psycopg
from psycopg import sql
from psycopg.sql import SQL, Identifier, Literal

from config import Settings
from ledger.business_days import OFFSET_MS
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from ledger.identifiers import id_bounds
from ledger.months import FIRST_YEAR, LAST_YEAR, Month
from ledger.tables import VAS_TRANSACTIONS, TieredTable
from sql.catalog import check_exactness, columns_of
from sql.connection import Connection, fetch_one, schema_of
from sql.errors import translate
from sql.fields import assign_fields
from sql.ledger_tables import make_hot_parent
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.names import require_free, taken, taken_names
from sql.partition_checks import check_attachable
from sql.queries import load
from sql.relations import Parents, Relation, check_partition, find_in_schema
from sql.roles import grant_partition, grant_table
from sql.storing import check_stored, not_stored
from sql.views import ensure_view, require_view_name

_QUERIES = load("catalog")
_TIERS = load("tiers")
_GUARD = "treasury_guard_history"
_PERIOD_GUARD = "treasury_guard_period"
_UPDATE, _UPDATE_OR_DELETE = 19, 27  # tgtype of pg_trigger: before (2) and for each row (1), UPDATE (16), DELETE (8)
_LIKE_ITS_PARENT = SQL("INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS")


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


def prepare_table(connection: Connection, settings: Settings, table: TieredTable) -> tuple[Column, ...]:
    """Make sure that ``table`` has its warm parent, its guards, its view and its privileges; returns its columns.

    The hot parent belongs to the application's own migrations and must exist, partitioned by range of the time column.
    A missing one of a built-in table is made. What is made is made in its schema. Raises ConfigError naming what does
    not fit or has a name that the table needs. Safe to run again; then it only looks.
    """
    if Parents.of(connection, table).hot is None:
        make_hot_parent(connection, settings, table)
    parents = Parents.of(connection, table)
    columns = columns_of(connection, parents.hot)
    hot = _check_shape(connection, table, parents.hot, columns)
    require_view_name(connection, table, hot.schema, parents)
    if parents.warm is None:
        run_ddl(connection, settings, lambda: _create_warm_parent(connection, table, hot))
    else:
        _check_warm(connection, table, hot, parents.warm, columns)
    ensure_view(connection, settings, table, columns)
    for parent in Parents.of(connection, table).found:
        for guard in lacking_guards(connection, table, parent):
            run_ddl(connection, settings, partial(_GUARDS[guard], connection, table, parent))
    assign_fields(connection, settings, table, hot)
    grant_table(connection, settings, table)
    return columns


def _check_shape(
    connection: Connection, table: TieredTable, hot: Relation | None, columns: tuple[Column, ...]
) -> Relation:
    """The hot parent, when it is there and as it is described."""
    if hot is None:
        raise ConfigError(f"table {table.name}: there is no {table.hot_parent} in the database")
    partitioning = connection.execute(_QUERIES["partitioning"], {"relation": hot.oid}).fetchone()
    if partitioning != ("r", [table.time_column]):
        raise ConfigError(f"{hot} is not partitioned by range of {table.time_column}")
    kinds = {column.name: column.kind for column in columns}
    wanted = {table.key_column: ColumnKind.UUID, table.time_column: ColumnKind.TIMESTAMP}
    wanted |= dict.fromkeys(table.money_columns, ColumnKind.DECIMAL)
    wanted |= {name: ColumnKind.TEXT for name in (table.currency_column, table.status_column) if name}
    for name, kind in wanted.items():
        if kinds.get(name) is not kind:
            raise ConfigError(f"{hot}.{name} must be a column of kind {kind}, found {kinds.get(name)}")
    missing = [name for name in table.cold_sort if name not in kinds]
    if missing:
        raise ConfigError(f"table {table.name}: cold_sort names {', '.join(missing)}, which {hot} lacks")
    check_key(connection, table, hot)
    check_exactness(connection, table, hot)
    return hot


def check_key(connection: Connection, table: TieredTable, parent: Relation) -> None:
    """Raise ConfigError unless the primary key of ``parent`` is the key column with the time column. By these two a row
    is known in every tier; of several rows that have them in common, answers would show one.
    """
    row = connection.execute(_QUERIES["primary_key_columns"], {"relation": parent.oid}).fetchone()
    if row is None:
        raise ConfigError(f"{parent} has no primary key")
    if set(row[0]) != {table.key_column, table.time_column}:
        raise ConfigError(
            f"{parent} has the primary key ({', '.join(row[0])}), and a row is known by ({table.key_column}, "
            f"{table.time_column}): make that the primary key"
        )


def _check_warm(
    connection: Connection, table: TieredTable, hot: Relation, warm: Relation, columns: tuple[Column, ...]
) -> None:
    """Raise ConfigError unless what has the warm parent's name is partitioned as the hot one, with the same columns."""
    partitioning = connection.execute(_QUERIES["partitioning"], {"relation": warm.oid}).fetchone()
    if partitioning != ("r", [table.time_column]):
        kind = taken_names(connection, warm.schema, [warm.name]).get(warm.name, "a relation")
        raise taken(table, warm.schema, warm.name, kind, "its warm parent")
    if columns_of(connection, warm) != columns:
        raise ConfigError(f"{warm} and {hot} do not have the same columns")
    generated = [
        connection.execute(_QUERIES["generated"], {"relation": parent.oid}).fetchall() for parent in (hot, warm)
    ]
    if generated[0] != generated[1]:
        raise ConfigError(f"{warm} and {hot} do not have the same generated columns: no month can move between them")
    check_key(connection, table, warm)
    check_exactness(connection, table, warm)


def _create_warm_parent(connection: Connection, table: TieredTable, hot: Relation) -> None:
    if find_in_schema(connection, hot.schema, table.warm_parent):
        return  # another process came first: only under the maintenance lock is the answer final
    indexes = _warm_indexes(connection, table, hot)
    wanted = dict.fromkeys(indexes, "an index of its warm parent") | {table.warm_parent: "its warm parent"}
    require_free(connection, table, hot.schema, wanted)
    warm = hot.sibling(table.warm_parent)
    connection.execute(
        SQL("CREATE TABLE {} (LIKE {} {}) PARTITION BY RANGE ({})").format(
            warm, hot.identifier, _LIKE_ITS_PARENT, Identifier(table.time_column)
        )
    )
    key = connection.execute(_QUERIES["primary_key"], {"relation": hot.oid}).fetchone()
    assert key is not None  # noqa: S101  # `check_key` has looked
    connection.execute(SQL("ALTER TABLE {} ADD {}").format(warm, SQL(key[0])))
    for name, definition in indexes.items():
        connection.execute(SQL("CREATE INDEX {} ON {} {}").format(Identifier(name), warm, SQL(definition)))


def _warm_indexes(connection: Connection, table: TieredTable, hot: Relation) -> dict[str, str]:
    """The indexes of the warm parent: those of the hot one that warm keeps, each with its definition."""
    indexes = connection.execute(_QUERIES["indexes"], {"relation": hot.oid}).fetchall()
    suffixes = {name.removeprefix(f"idx_{table.name}_"): definition for name, definition in indexes}
    kept = {suffix: definition for suffix, definition in suffixes.items() if suffix in table.warm_indexes}
    return {f"idx_{table.warm_parent}_{suffix}": definition for suffix, definition in kept.items()}


def lacking_guards(connection: Connection, table: TieredTable, parent: Relation) -> list[str]:
    """The guards that ``parent`` lacks: they are missing, made for other settings, or switched off for it or for a
    partition of it.
    """
    wanted = {_GUARD: {"events": _UPDATE_OR_DELETE, "has_condition": False, "arguments": _guard_arguments(table)}}
    if table.name == VAS_TRANSACTIONS.name and _has_period_guard(connection):
        wanted[_PERIOD_GUARD] = {"events": _UPDATE, "has_condition": True, "arguments": []}

    def is_there(guard: str) -> bool:
        asked = {"relation": parent.oid, "trigger": guard, **wanted[guard]}
        return bool(fetch_one(connection, _QUERIES["is_guarded"], asked)[0])

    return [guard for guard in wanted if not is_there(guard)]


def _has_period_guard(connection: Connection) -> bool:
    """Return whether the database has its function, which came with a migration."""
    return bool(fetch_one(connection, _QUERIES["has_function"], {"function": _PERIOD_GUARD})[0])


def _guard_arguments(table: TieredTable) -> list[str]:
    return [table.key_column, table.time_column, table.status_column or "", *sorted(table.terminal_statuses)]


def _create_guard(connection: Connection, table: TieredTable, parent: Relation) -> None:
    """History is guarded by the database itself, whoever writes to it; inserts do not pay for it."""
    connection.execute(
        SQL("CREATE OR REPLACE TRIGGER {} BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION {}({})").format(
            Identifier(_GUARD),
            parent.identifier,
            Identifier(schema_of(connection), _GUARD),
            SQL(", ").join(Literal(argument) for argument in _guard_arguments(table)),
        )
    )


def _create_period_guard(connection: Connection, table: TieredTable, parent: Relation) -> None:
    """Rows of closed days are guarded too. A row of today's Johannesburg day cannot be in one: its updates, nearly all
    that there are, pay for a comparison of two times. The name is behind the history guard's: that one is asked first.
    """
    connection.execute(
        SQL(
            "CREATE OR REPLACE TRIGGER {0} BEFORE UPDATE ON {1} FOR EACH ROW WHEN (OLD.{2} < (date_trunc("
            "'day', now() AT TIME ZONE 'UTC' + {4}::interval) - {4}::interval) AT TIME ZONE 'UTC')"
            " EXECUTE FUNCTION {3}()"
        ).format(
            Identifier(_PERIOD_GUARD),
            parent.identifier,
            Identifier(table.time_column),
            Identifier(schema_of(connection), _PERIOD_GUARD),
            Literal(f"{OFFSET_MS} ms"),
        )
    )


_GUARDS = {_GUARD: _create_guard, _PERIOD_GUARD: _create_period_guard}


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
    connection.execute(_attach(hot, partition, month))
    made = find_in_schema(connection, hot.schema, name)
    assert made is not None  # noqa: S101  # it was made above, in this transaction
    grant_partition(connection, made)


def make_like(connection: Connection, table: TieredTable, parent: Relation, made: Identifier, month: Month) -> None:
    """Make a table ``made`` that can become the partition of ``month``: like its parent, with a CHECK of its bounds."""
    connection.execute(
        SQL("CREATE TABLE {} (LIKE {} {} INCLUDING STORAGE)").format(made, parent.identifier, _LIKE_ITS_PARENT)
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
    connection.execute(_attach(parent, partition.identifier, month))
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


def _attach(parent: Relation, partition: Identifier, month: Month) -> sql.Composed:
    return SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        parent.identifier, partition, _bound(month), _bound(month.plus(1))
    )


def move_to_warm(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> bool:
    """Re-attach a hot month to the warm parent, in one short transaction; returns False when it is not hot.

    No row is copied and nothing is scanned: the cost does not depend on the number of rows. Both parents are locked
    before anything changes, in the order in which the view reads them. So no statement sees the month twice or not at
    all. Safe to run again. Raises TransientError when the locks were not to be had. It does so too when the partition
    lacks an index of the warm parent: `sql.partition_checks.ensure_indexes` makes it.
    """

    def move() -> bool:
        _keep_vacuum_out(connection, table, month)
        tier = connection.execute(
            "SELECT tier FROM archive_months WHERE (table_name, month, tier) = (%s, %s, 'hot') FOR UPDATE",
            (table.name, month.first_day),
        ).fetchone()
        if tier is None:
            return False
        _reattach(connection, table, month)
        moved = connection.execute(
            "UPDATE archive_months SET tier = 'warm', warm_at = now()"
            " WHERE (table_name, month, tier) = (%s, %s, 'hot')",
            (table.name, month.first_day),
        )
        check_stored(moved, 1, "archive_months")
        return True

    return run_ddl(connection, settings, move)


def _keep_vacuum_out(connection: Connection, table: TieredTable, month: Month) -> None:
    """First, while no parent is locked: what waits here holds nothing that a writer needs."""
    partition = monthly_partitions(connection, Parents.of(connection, table).hot).get(month)
    if partition is not None:
        keep_vacuum_out(connection, partition.identifier)


def _reattach(connection: Connection, table: TieredTable, month: Month) -> None:
    """Lock both parents, then find the partition: whoever attaches, detaches or renames one comes before or after."""
    parents = Parents.of(connection, table)
    partition = monthly_partitions(connection, parents.hot).get(month)
    if parents.hot is None or parents.warm is None or partition is None:
        raise DataError(f"{table.name} {month}: the catalogue says hot, but {table.hot_parent} has no such partition")
    hot, warm = parents.hot, parents.warm
    connection.execute(
        SQL("LOCK TABLE ONLY {}, ONLY {} IN ACCESS EXCLUSIVE MODE").format(hot.identifier, warm.identifier)
    )
    connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(partition.identifier))
    check_partition(connection, partition, hot)
    check_attachable(connection, partition, warm)
    connection.execute(SQL("ALTER TABLE {} DETACH PARTITION {}").format(hot.identifier, partition.identifier))
    connection.execute(_attach(warm, partition.identifier, month))
