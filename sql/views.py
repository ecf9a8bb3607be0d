"""The view over the hot and the warm parent of a ledger table. It is made where it is missing, and given columns that
the parents have got. People may have views of their own upon it, so it is replaced and not dropped where that is
possible.
"""

from collections.abc import Sequence

from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

from config import Settings
from ledger.columns import Column
from ledger.errors import ConfigError
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.maintenance import run_ddl
from sql.names import require_free, taken, taken_names
from sql.queries import load
from sql.relations import Parents, Relation, find_in_schema

_QUERIES = load("views")
TIER = "tier"
PURPOSE = "its view over hot and warm"


def require_view_name(connection: Connection, table: TieredTable, schema: str, parents: Parents) -> None:
    """Raise ConfigError unless the table's own name is free or has the view over ``parents``."""
    try:
        if _view(connection, table, schema, parents) is None:
            require_free(connection, table, schema, {table.name: PURPOSE})
    except ConfigError:
        # Another process may have made the warm parent and the view since the parents were read.
        if _view(connection, table, schema, Parents.of(connection, table)) is None:
            raise


def ensure_view(connection: Connection, settings: Settings, table: TieredTable, columns: Sequence[Column]) -> None:
    """Make the view, or give it the columns that it lacks, behind those that it has. Safe to run again; then it only
    looks. Raises ConfigError where something else has its name, and for what depends on a view that must be dropped.
    """
    parents = Parents.of(connection, table)
    assert parents.hot is not None  # noqa: S101  # the callers have made it
    view = _view(connection, table, parents.hot.schema, parents)
    names = [column.name for column in columns]
    if view is None or set(_columns(connection, view)) != {*names, TIER}:
        run_ddl(connection, settings, lambda: _make(connection, table, names))


def _make(connection: Connection, table: TieredTable, names: Sequence[str]) -> None:
    parents = Parents.of(connection, table)
    if parents.hot is None or parents.warm is None:
        raise ConfigError(f"table {table.name}: a parent was dropped meanwhile; run it again")
    view = _view(connection, table, parents.hot.schema, parents)
    identifier = parents.hot.sibling(table.name)
    if view is None:
        require_free(connection, table, parents.hot.schema, {table.name: PURPOSE})
        connection.execute(SQL("CREATE VIEW {} AS {}").format(identifier, _union(parents, [*names, TIER])))
        return
    kept = _columns(connection, view)
    order = [*(name for name in kept if name in {*names, TIER}), *(name for name in names if name not in kept)]
    query = _union(parents, order)
    try:
        with connection.transaction():
            connection.execute(SQL("CREATE OR REPLACE VIEW {} AS {}").format(identifier, query))
    except errors.InvalidTableDefinition:  # a column was renamed or has left: it cannot be replaced
        _remake(connection, view, _union(parents, [*names, TIER]))


def _remake(connection: Connection, view: Relation, query: Composed) -> None:
    try:
        connection.execute(SQL("DROP VIEW {}").format(view.identifier))
    except errors.DependentObjectsStillExist as error:
        raise ConfigError(
            f"view {view}: a column of its table was renamed or dropped, so it must be made again, and this depends on "
            f"it: {error.diag.message_detail}. Drop that, run `treasury setup`, and make it again"
        ) from error
    connection.execute(SQL("CREATE VIEW {} AS {}").format(view.identifier, query))


def find_view(connection: Connection, table: TieredTable, schema: str, parents: Parents) -> Relation | None:
    """The view over both parents; None where nothing, or something else, has its name."""
    relation = find_in_schema(connection, schema, table.name)
    return relation if relation is not None and _reads_both(connection, relation, parents) else None


def _reads_both(connection: Connection, relation: Relation, parents: Parents) -> bool:
    reads = connection.execute(_QUERIES["reads"], {"view": relation.oid}).fetchone()
    return reads is not None and sorted(reads[0]) == sorted(parent.oid for parent in parents.found)


def _view(connection: Connection, table: TieredTable, schema: str, parents: Parents) -> Relation | None:
    """The view over both parents; None where nothing has its name. Raises ConfigError for anything else that has it."""
    relation = find_in_schema(connection, schema, table.name)
    if relation is None or _reads_both(connection, relation, parents):
        return relation
    if find_in_schema(connection, schema, table.name) != relation:  # another process has made it again meanwhile
        return _view(connection, table, schema, parents)
    kind = taken_names(connection, schema, [table.name]).get(table.name, "a relation")
    raise taken(table, schema, table.name, kind, PURPOSE)


def _columns(connection: Connection, view: Relation) -> list[str]:
    return [name for (name,) in connection.execute(_QUERIES["columns"], {"view": view.oid})]


def _union(parents: Parents, order: Sequence[str]) -> Composed:
    branches = []
    for tier, parent in zip(("hot", "warm"), parents.found, strict=True):
        value = SQL("{}::text AS tier").format(Literal(tier))
        names = SQL(", ").join(value if name == TIER else Identifier(name) for name in order)
        branches.append(SQL("SELECT {} FROM {}").format(names, parent.identifier))
    return SQL(" UNION ALL ").join(branches)
