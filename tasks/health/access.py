"""The check of what hides, loses or changes rows: row-level security, UNLOGGED, guards, and triggers of others."""

from collections.abc import Iterator

from ledger.counts import counted
from sql.connection import Connection
from sql.guards import lacking_guards
from sql.obstacles import policed_relations, unlogged_relations
from sql.partitions import list_partitions
from sql.relations import Parents, Relation
from sql.roles import own_relations
from sql.storing import alterers
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure


def row_access(context: Context) -> Measure:
    """Return whether every login sees every row, and every row is stored as it is sent and stays."""
    with context.connect() as connection:
        relations = [*own_relations(connection), *_relations(context, connection)]
        hidden = [str(relation) for relation in policed_relations(connection, relations, context.logins(connection))]
        unguarded = list(_unguarded(context, connection))
        unlogged = sorted(unlogged_relations(connection, relations).values())
        altering = [line for parent in _parents(context, connection) for line in alterers(connection, parent)]
    if hidden:
        return Measure(f"row-level security hides rows: {_listed(hidden)}", len(hidden), HealthState.CRITICAL)
    if unlogged:
        return Measure(_listed(unlogged), len(unlogged), HealthState.CRITICAL)
    if unguarded:
        line = f"rows may change that must not, run `treasury setup`: {_listed(unguarded)}"
        return Measure(line, len(unguarded), HealthState.CRITICAL)
    if altering:
        return Measure(
            f"may drop or change rows while they are stored: {_listed(altering)}", len(altering), HealthState.WARNING
        )
    tables = counted(len(relations), "table is", "tables are")
    return Measure(f"{tables} read whole by every login", 0, HealthState.HEALTHY)


def _parents(context: Context, connection: Connection) -> Iterator[Relation]:
    for table in context.tables:
        yield from Parents.of(connection, table).found


def _unguarded(context: Context, connection: Connection) -> Iterator[str]:
    for table in context.tables:
        for parent in Parents.of(connection, table).found:
            yield from (f"{guard} of {parent}" for guard in lacking_guards(connection, table, parent))


def _relations(context: Context, connection: Connection) -> Iterator[Relation]:
    for parent in _parents(context, connection):
        yield parent
        yield from (partition.relation for partition in list_partitions(connection, parent))


def _listed(lines: list[str]) -> str:
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more
