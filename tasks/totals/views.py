"""The views of daily totals in the auditor's SQL: their rows are what `tasks.totals.answer` answers.

A query gets the totals of the days that it asks for, computed before it runs; the engine then judges every row of them.
"""

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.columns import Column
from ledger.counts import counted
from ledger.errors import DataError, FieldError
from ledger.tables import TieredTable
from ledger.totals import COLUMNS, DAY, Question, Total, TotalsGroup, Zone, column_of, totals_columns
from sql.connection import Connection, fetch_one
from storage.conditions import Asked, Condition
from storage.parquet import arrow_type
from tasks.querying.places import Places
from tasks.totals.answer import TotalsAnswer, answer_within
from tasks.totals.places import TablePlaces, places_among

_MOST = 1_000_000
# The first and the last days that Python has in both zones.
FIRST, LAST = date(1, 1, 2), date(9999, 12, 30)


@dataclass(frozen=True, slots=True)
class TotalsView:
    """The rows of a view, and what to say about them."""

    rows: pa.Table
    notes: tuple[str, ...]


def read_view(
    connection: Connection, settings: Settings, places: Places, view: str, asked: Asked, timeout_s: float
) -> TotalsView:
    """The rows of ``view`` that a query can want, in the transaction in which ``places`` were found.

    Raises DataError for a row that is on no day, for more totals than fit, and for a sum of more than 38 digits. Raises
    further what a `tasks.totals.answer.TotalsReader` raises.
    """
    table, zone = _meant(places, view)
    described = places_among(connection, places, table)
    first, last = asked_days(asked)
    groups = {group for group in COLUMNS if column_of(table, group, described.names)}
    question = Question(first, last, zone, frozenset({TotalsGroup.DAY, *groups}), may_be_any_year=True)
    if (first, last) in ((FIRST, LAST), (FIRST, FIRST), (LAST, LAST)):
        _refuse_endless(connection, described, zone)
    try:
        answer = answer_within(connection, settings, described, question, _MOST, timeout_s)
    except FieldError as error:
        raise DataError(f"SQL: {view} {error.rule}") from None
    rows = _arrow(view, totals_columns(table, described.living), answer.totals)
    return TotalsView(rows, _notes(view, answer))


def _meant(places: Places, view: str) -> tuple[TieredTable, Zone]:
    return next(
        (table, zone)
        for table, _ in places.tables
        for name, zone in zip(table.totals_views, (Zone.UTC, Zone.JOHANNESBURG), strict=True)
        if name == view
    )


def asked_days(asked: Asked) -> tuple[date, date]:
    """The first and the last day that a query can want, of those from `FIRST` to `LAST`."""
    if not asked.alternatives:
        return FIRST, LAST
    spans = [_span(conditions) for conditions in asked.alternatives]
    first, last = min(first for first, _ in spans), max(last for _, last in spans)
    return min(first, LAST), min(max(first, last), LAST)


def _span(conditions: tuple[Condition, ...]) -> tuple[date, date]:
    first, last = FIRST, LAST
    for condition in conditions:
        days = [day for day in condition.values if isinstance(day, date) and not isinstance(day, datetime)]
        if condition.column != DAY.name or len(days) != len(condition.values):
            continue
        if condition.comparison in ("=", ">=", ">"):
            first = max(first, min(days))
        if condition.comparison in ("=", "<=", "<"):
            last = min(last, max(days))
    return first, last


def _refuse_endless(connection: Connection, table: TablePlaces, zone: Zone) -> None:
    """Raise DataError for rows that are on no day from `FIRST` to `LAST`: only partitions of no month can have them."""
    column = Identifier(table.table.time_column)
    every_day = Question(FIRST, LAST, zone, may_be_any_year=True)
    bounds = {"lower": every_day.lower, "upper": every_day.upper}
    for place in table.places:
        if place.attached is None or place.branch.month is not None:
            continue
        query = SQL("SELECT count(*) FROM {0} WHERE ({1} >= %(lower)s AND {1} < %(upper)s) IS NOT TRUE").format(
            place.attached.item, column
        )
        (rows,) = fetch_one(connection, query, bounds)
        if rows:
            raise DataError(
                f"SQL: {place.name}: {counted(rows, 'row')} with a {table.table.time_column} outside the years 1 to "
                "9999, and so on no day: correct them, or ask for some days"
            )


def _arrow(view: str, columns: tuple[Column, ...], totals: list[Total]) -> pa.Table:
    """The totals as the columns of the view: the last of them are the sums."""
    fields = [pa.field(column.name, arrow_type(column)) for column in columns]
    sums = len(totals[0].sums) if totals else 0
    shown = fields[: len(fields) - sums]
    values = [[getattr(total, field.name) for total in totals] for field in shown]
    values += [[total.sums[number] for total in totals] for number in range(sums)]
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(values, fields, strict=True)]
    except pa.ArrowInvalid as error:
        raise DataError(f"SQL: {view}: a sum has more digits than an answer can hold: {error}") from None
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _notes(view: str, answer: TotalsAnswer) -> tuple[str, ...]:
    return (
        f"{view}: from kept totals of {counted(answer.kept, 'month')}, and from the rows of {answer.read}",
        *answer.notes,
    )
