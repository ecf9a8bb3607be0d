"""Months that another database sent back to warm, taken over by the one that continues its installation."""

from collections.abc import Sequence

from ledger.installation import Owner
from ledger.months import Month
from ledger.transparency.events import Event, Returned
from ledger.transparency.replay import Existing, replay
from sql.connection import Connection
from sql.log import cold_parts, record_event
from sql.rebuild import replace_parts
from storage.store import ObjectStore
from tasks.rebuilding.catalogue import add_archived
from tasks.restoring.recovery import restore_returns


def take_over_returns(
    connection: Connection, store: ObjectStore, owner: Owner, events: Sequence[Event], first: int
) -> None:
    """Bring the months that returned in ``events`` from ``first`` on to what the log says, in the caller's transaction.

    A month that was archived again has its new objects from here on. The rows of one that was not were only in the lost
    database. The month is archived as this database has it, and the log records that again.
    """
    returned = {(body.table, body.month) for event in events[first:] if isinstance(body := event.body, Returned)}
    months = replay(events).months
    for table, name in sorted(returned):
        month = Month.parse(name)
        newer = [(key, existing) for key, existing in sorted(months.items()) if key[:2] == (table, name)]
        ours = list(cold_parts(connection, table, month.first_day))
        if newer and ours:
            _replace(connection, store, owner, month, [existing for _, existing in newer], events)
        elif ours:
            for archived in ours:
                record_event(connection, owner, archived)
            continue
        restore_returns(connection, store, _of_month(events, table, name))


def _replace(
    connection: Connection,
    store: ObjectStore,
    owner: Owner,
    month: Month,
    newer: Sequence[Existing],
    events: Sequence[Event],
) -> None:
    table = newer[0].archived.table
    with replace_parts(connection, table, month):
        for existing in newer:
            add_archived(connection, store, owner, existing.archived, events[existing.index].happened_at)


def _of_month(events: Sequence[Event], table: str, month: str) -> list[Event]:
    return [
        event
        for event in events
        if getattr(event.body, "table", None) == table and getattr(event.body, "month", None) == month
    ]
