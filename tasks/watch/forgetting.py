"""What the watch knows of rows that are deleted: the findings that name them, and what alerts have of these."""

from collections.abc import Sequence

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.deletions import month_parts
from sql.queries import load
from storage.engine import identifier, literal
from tasks.alerting.store import forget_events, forget_subjects
from tasks.querying.query import run_query
from tasks.watch.findings import event_of, many_subjects

_QUERIES = load("watch")


def forget_findings(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> None:
    """Remove the findings that name a row of ``month`` which no tier has any more, and what alerts have of them.

    A finding stays while every row of the month that it names is held. Safe to run again. Raises the store's errors
    where held rows cannot be read.
    """
    first_id, end_id = id_bounds(month)
    span = {"table": table.name, "lower": month.lower, "upper": month.upper}
    findings = connection.execute(
        _QUERIES["findings_of_month"], span | {"first_id": first_id, "end_id": end_id}
    ).fetchall()
    there = _there(connection, settings, table, month, sorted({key for *_, keys in findings for key in keys}))
    gone = [
        (rule, subject, window) for rule, subject, window, keys in findings if not keys or not there.issuperset(keys)
    ]
    named = {name: [finding[place] for finding in gone] for place, name in enumerate(("rules", "subjects", "windows"))}
    events = [(_alert(table.name, *finding), event_of(table.name, finding[-1])) for finding in gone]
    with connection.transaction():
        connection.execute(_QUERIES["forget_findings"], named | {"table": table.name})
        forget_events(connection, events)
        forget_subjects(connection, many_subjects(table.name), month.lower, month.upper)


def _alert(table: str, rule: str, subject: str, window_key: str) -> Alert:
    """The parts of a finding's alert that identify it."""
    return Alert(rule, subject, Severity.WARNING, "", "", {"table": table, "window": window_key})


def _there(
    connection: Connection, settings: Settings, table: TieredTable, month: Month, keys: Sequence[str]
) -> set[str]:
    """Those of ``keys`` whose rows of the month some tier has: holds keep them."""
    with connection.transaction():
        parts = month_parts(connection, table.name, month)
    if not parts or not keys:
        return set()
    key_column, time_column = identifier(table.key_column), identifier(table.time_column)
    query = (
        f"SELECT {key_column}::text AS key FROM {identifier(table.name)} "  # noqa: S608
        f"WHERE {time_column} >= TIMESTAMPTZ {literal(month.lower.isoformat())} "
        f"AND {time_column} < TIMESTAMPTZ {literal(month.upper.isoformat())} "
        f"AND {key_column} IN ({', '.join(map(literal, keys))})"
    )
    with run_query(settings, query) as answer:
        return {str(row["key"]) for row in answer.batches.read_all().to_pylist()}
