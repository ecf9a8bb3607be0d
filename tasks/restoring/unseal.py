"""Unsealing: a warm month whose archiving began and did not end takes writes again."""

from psycopg.types.json import Jsonb

from config import Settings
from ledger.errors import ConflictError, DataError, NotFoundError
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from sql.maintenance import run_ddl
from sql.queries import load
from sql.relations import Parents, check_partition
from sql.seal import unseal
from sql.storing import check_stored
from tasks.archiving.catalogue import MonthState, month_states
from tasks.archiving.month_lock import month_lock

_QUERIES = load("tiers")


def unseal_month(settings: Settings, table: TieredTable, month: Month, actor: str, reason: str) -> None:
    """Take the seal off a warm month. The next archiving begins from the start and seals it again.

    Safe to run again. Raises NotFoundError for an unknown month, DataError for one that is not warm or not sealed,
    ConflictError while a run archives it.
    """
    with connect(settings.database_dsn, "unseal") as connection, month_lock(connection, table, month):
        state = _sealed(connection, table, month)
        parent, partition = Parents.of(connection, table).warm, state.partition
        if parent is None or partition is None:
            raise DataError(f"{table.name} {month}: the catalogue says warm, but {table.warm_parent} has no partition")
        named = {"table": table.name, "month": month.first_day, "part": state.catalogue.part}

        def work() -> None:
            check_partition(connection, partition.relation, parent)
            unseal(connection, partition.relation)
            changed = connection.execute(_QUERIES["mark_unsealed"], named | {"attempt": state.catalogue.attempt})
            if changed.rowcount != 1:
                raise ConflictError(f"{table.name} {month} was taken over by another run")
            detail = {"actor": actor, "reason": reason}
            event = named | {"event": "unsealed", "detail": Jsonb(detail)}
            check_stored(connection.execute(_QUERIES["add_event"], event), 1, "archive_events")

        run_ddl(connection, settings, work)


def _sealed(connection: Connection, table: TieredTable, month: Month) -> MonthState:
    states = [state for state in month_states(connection, table) if state.month == month]
    if not states:
        raise NotFoundError(f"{table.name} has no month {month}")
    state = states[-1]
    if state.tier is not Tier.WARM:
        raise DataError(f"{table.name} {month} is {state.tier}: only a warm month can be unsealed")
    if not state.is_sealed:
        raise DataError(f"{table.name} {month} is not sealed: it takes writes")
    return state
