"""The triggers that guard history, whoever writes to it: rows that are final, and rows of closed days."""

from functools import partial

from psycopg.sql import SQL, Identifier, Literal

from config import Settings
from ledger.business_days import OFFSET_MS
from ledger.tables import VAS_TRANSACTIONS, TieredTable
from sql.connection import Connection, fetch_one, schema_of
from sql.maintenance import run_ddl
from sql.queries import load
from sql.relations import Relation

_QUERIES = load("catalog")
_UPDATE, _UPDATE_OR_DELETE = 19, 27  # tgtype of pg_trigger: before (2) and for each row (1), UPDATE (16), DELETE (8)
_GUARD = "treasury_guard_history"
_PERIOD_GUARD = "treasury_guard_period"


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


def make_guards(connection: Connection, settings: Settings, table: TieredTable, parent: Relation) -> None:
    """Make the guards that ``parent`` lacks. Safe to run again."""
    for guard in lacking_guards(connection, table, parent):
        run_ddl(connection, settings, partial(_GUARDS[guard], connection, table, parent))
