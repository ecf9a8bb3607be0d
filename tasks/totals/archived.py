"""Totals of rows in the archive, or in PostgreSQL beside rows that are archived already: DuckDB computes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from config import Settings
from ledger.errors import TransientError
from ledger.totals import COLUMNS, DETAILS, Question, TotalsGroup, Zone, column_of
from sql.connection import Connection
from sql.totals import SA_DAY, UTC_DAY
from storage.engine import engine, identifier, literal, sql_type
from storage.wide_sums import checked, register_checks
from tasks.querying.failures import TimeLimit
from tasks.querying.left_out import LeftOut, find_left_out
from tasks.querying.link import linked, translated
from tasks.querying.objects import reading_checked
from tasks.totals.places import PlaceOfRows, TablePlaces

Record = tuple[Any, ...]


def archive_sums(
    connection: Connection,
    settings: Settings,
    table: TablePlaces,
    places: Sequence[PlaceOfRows],
    question: Question,
    timeout_s: float | None = None,
) -> tuple[list[Record], list[LeftOut]]:
    """The totals of ``places``: day, currency, the columns of `COLUMNS`, rows and sums, None for a column that
    they are not grouped by. Further the rows of PostgreSQL that are not counted, because the archive has them.

    Raises DataError for an object that is not the one that was proved, and TransientError when ``timeout_s`` is over.
    """
    time_column = identifier(table.table.time_column)
    day = (UTC_DAY if question.zone is Zone.UTC else SA_DAY).format(time_column)
    named = [day if TotalsGroup.DAY in question.groups else "NULL::DATE", _currency(table)]
    named += [_column(table, group) if group in question.groups else "NULL::VARCHAR" for group in COLUMNS]
    bounds = [f"TIMESTAMPTZ {literal(moment.isoformat())}" for moment in (question.lower, question.upper)]
    where = f"{time_column} >= {bounds[0]} AND {time_column} < {bounds[1]}"
    if question.client_id is not None:
        where += f" AND {_column(table, TotalsGroup.CLIENT)} = {literal(question.client_id)}"
    query = f"SELECT {', '.join([*named, 'count(*)', *_sums(table)])} FROM {{}} WHERE {where} GROUP BY 1, 2, 3, 4, 5, 6"
    return _asked(connection, settings, table, places, query, where, timeout_s)


def object_totals(connection: Connection, settings: Settings, table: TablePlaces, place: PlaceOfRows) -> list[Record]:
    """All totals of an archived object, as they are kept: detail, days, client, type, status, currency, supplier, rows
    and a list of sums. Raises DataError for an object that is not the one that was proved.
    """
    time_column = identifier(table.table.time_column)
    pieces = [UTC_DAY.format(time_column), SA_DAY.format(time_column)]
    columns = [_column(table, group) for group in (TotalsGroup.CLIENT, TotalsGroup.TYPE, TotalsGroup.STATUS)]
    columns += [_currency(table), _column(table, TotalsGroup.SUPPLIER)]
    names = ["utc_day", "sa_day", "client_id", "type", "status", "currency", "supplier"]
    read = [f"{column} AS {name}" for column, name in zip([*pieces, *columns], names, strict=True)]
    read += [f"{identifier(column)} AS money_{number}" for number, column in enumerate(table.table.money_columns)]
    money = [f"coalesce(sum(money_{number}), 0)" for number in range(len(table.table.money_columns))]
    records: list[Record] = []
    for detail, named in enumerate(DETAILS):
        kept = [name in ("utc_day", "sa_day", "currency") or name in named for name in names]
        shown = [name if is_named else f"NULL::VARCHAR AS {name}" for name, is_named in zip(names, kept, strict=True)]
        inner = f"(SELECT {', '.join(read)} FROM {{}}) AS pieces"
        query = f"SELECT {', '.join([*shown, 'count(*)', *money])} FROM {inner} GROUP BY 1, 2, 3, 4, 5, 6, 7"
        records += [(detail, *row[:8], list(row[8:])) for row in _asked(connection, settings, table, [place], query)[0]]
    return records


def _asked(
    connection: Connection,
    settings: Settings,
    table: TablePlaces,
    places: Sequence[PlaceOfRows],
    query: str,
    where: str = "true",
    timeout_s: float | None = None,
) -> tuple[list[Record], list[LeftOut]]:
    """The answer to ``query``, which has a gap where the rows of ``places`` are read from, and the rows that
    fulfil ``where`` and are left out. ``connection`` is where the archived objects are looked up.
    """
    links = int(any(place.attached for place in places))
    objects = {address: item for place in places for address, item in place.objects.items()}
    errors = translated(settings) if links else _archive_errors()
    with (
        engine(settings) as duck,
        linked(duck, settings, links, timeout_s),
        errors,
        _bounded(duck, timeout_s),
        reading_checked(duck, connection, settings, objects),
    ):
        register_checks(duck)
        records = duck.execute(checked(duck, query.format(_rows(table, places)))).fetchall()
        return records, [left_out for place in places if (left_out := _left_out(duck, table, place, where))]


@contextmanager
def _bounded(duck: duckdb.DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    """End the block with TransientError when it takes longer than ``timeout_s``: months wait for it."""
    if timeout_s is None:
        yield
        return
    limit = TimeLimit(timeout_s)
    try:
        with limit.watching(duck):
            yield
    except duckdb.Error:
        if not limit.is_over:
            raise
    if limit.is_over:
        raise TransientError(f"reading archived months took longer than {timeout_s:g} s: ask for fewer days")


@contextmanager
def _archive_errors() -> Iterator[None]:
    """TransientError for the engine's errors inside the block: it reads objects that were proved."""
    try:
        yield
    except duckdb.Error as error:
        raise TransientError(f"reading from the archive failed: {error}") from None


def _rows(table: TablePlaces, places: Sequence[PlaceOfRows]) -> str:
    """A FROM item of the rows of ``places``. A column that a place has not is NULL there."""
    typed = ", ".join(f"NULL::{sql_type(column)} AS {identifier(column.name)}" for column in table.view)
    arms = [f"SELECT {typed} WHERE false", *(place.branch.select(_source(table, place)) for place in places)]
    return f"({' UNION ALL BY NAME '.join(arms)}) AS rows"


def _left_out(duck: duckdb.DuckDBPyConnection, table: TablePlaces, place: PlaceOfRows, where: str) -> LeftOut | None:
    if place.attached is None:
        return None
    return find_left_out(duck, table.table, table.view, place.attached, place.branch.source, where)


def _source(table: TablePlaces, place: PlaceOfRows) -> str:
    source = place.branch.source
    return source if place.attached is None else place.attached.rows_of(table.table, source)


def _column(table: TablePlaces, group: TotalsGroup) -> str:
    name = column_of(table.table, group, table.names)
    return f"{identifier(name)}::VARCHAR" if name else "NULL::VARCHAR"


def _currency(table: TablePlaces) -> str:
    return f"{identifier(table.table.currency_column)}::VARCHAR" if table.table.currency_column else "NULL::VARCHAR"


def _sums(table: TablePlaces) -> list[str]:
    return [f"coalesce(sum({identifier(column)}), 0)" for column in table.table.money_columns]
