"""A table made ready: its shape is checked; its warm parent, guards, view and privileges are made."""

from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError
from ledger.tables import TieredTable
from sql.catalog import check_exactness, columns_of
from sql.connection import Connection
from sql.fields import assign_fields
from sql.guards import make_guards
from sql.ledger_tables import make_hot_parent
from sql.maintenance import run_ddl
from sql.names import require_free, taken, taken_names
from sql.partitions import LIKE_ITS_PARENT
from sql.queries import load
from sql.relations import Parents, Relation, find_in_schema
from sql.roles import grant_table
from sql.views import ensure_view, require_view_name

_QUERIES = load("catalog")


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
        make_guards(connection, settings, table, parent)
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
    wanted |= {name: ColumnKind.TEXT for name in table.kind_columns if name}
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
            warm, hot.identifier, LIKE_ITS_PARENT, Identifier(table.time_column)
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
