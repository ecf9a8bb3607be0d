"""Our side of a day, from wherever its rows are now: hot and warm from PostgreSQL, cold and deep from the archive."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import duckdb

from config import Settings
from ledger.business_days import bounds, day_of
from ledger.columns import Column
from ledger.counts import counted
from ledger.errors import DataError
from ledger.fields import matched
from ledger.identifiers import from_unix_ms, time_of
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection, connect
from sql.fields import read_fields
from sql.relations import Parents, Relation, find_relation, lock_parents
from storage.engine import identifier, literal
from tasks.archiving.catalogue import MonthState, month_states
from tasks.querying.link import linked, postgres_query, translated
from tasks.querying.objects import ArchivedObject, objects_of, reading_checked, source_of

TABLE = "vas_transactions"
_SHOWN = 5
# Everything that is compared, and nothing else: no mobile number, no metadata.
_COLUMNS = (
    ("id", "UUID"),
    ("created_at", "TIMESTAMPTZ"),
    ("type", "VARCHAR"),
    ("status", "VARCHAR"),
    ("amount", "DECIMAL(18,2)"),
    ("currency", "VARCHAR"),
    ("reference", "VARCHAR"),
    ("supplier_reference", "VARCHAR"),
    ("supplier_transaction_id", "VARCHAR"),
    ("supplier_product_id", "VARCHAR"),
    ("vas_type", "VARCHAR"),
    ("commission", "DECIMAL(18,2)"),
)
# An amount that is not of whole cents, as it is; NULL for every other. The columns above have it rounded.
_PARTS = "CASE WHEN amount <> amount::DECIMAL(18,2) THEN amount::VARCHAR END AS amount_in_parts"
_SELECTED = ", ".join([*(f"{name}::{kind} AS {name}" for name, kind in _COLUMNS), _PARTS])


@dataclass(frozen=True, slots=True)
class Window:
    """Which of our rows are wanted: a supplier's, created in ``[lower, upper)``, and the ``carried`` ones by id."""

    supplier: str
    lower: datetime
    upper: datetime
    carried: Sequence[UUID] = ()

    @classmethod
    def around(cls, supplier: str, day: date, margin_days: int, carried: Sequence[UUID]) -> "Window":
        """The Africa/Johannesburg ``day`` and ``margin_days`` either side."""
        margin = timedelta(days=margin_days)
        return cls(supplier, bounds(day - margin)[0], bounds(day + margin)[1], carried)


@contextmanager
def own_side(engine: duckdb.DuckDBPyConnection, settings: Settings, window: Window) -> Iterator[None]:
    """The engine's table ``own_rows``, each row once, whichever tier it is in, also while months move.

    The parents are locked against moves while PostgreSQL is read, and only then. Raises TransientError when PostgreSQL
    or the archive does not answer. Raises DataError when a month is not where the catalogue says, or not what was
    archived. Raises it, too, when PostgreSQL has a row with other values than the archive, and for an amount with a
    part of a cent. No statement has such an amount, and rounded it might agree with one.
    """
    table = settings.table(TABLE)
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        parents = lock_parents(connection, table)
        months = read_months(connection, table)
        sources = sources_of_parents(settings, parents, months, window)
        sources += _carried(settings, parents, months, window)
        objects = objects_in(settings, months, sources)
        with (
            linked(engine, settings, links=1),
            translated(settings),
            reading_checked(engine, connection, settings, objects),
        ):
            make_own_rows(engine, sources)
    try:
        _refuse_parts_of_cents(engine)
        yield
    finally:
        engine.execute("DROP TABLE IF EXISTS own_rows")


def make_own_rows(engine: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
    """Make the table ``own_rows`` of its parts, each row once. Equal rows are copies, where somebody made the partition
    of an archived month again. Raises DataError, and leaves no table, when PostgreSQL has a row with other values than
    the archive.
    """
    engine.execute(f"CREATE TABLE own_rows AS {' UNION ALL '.join(sources)}")
    if not _in_two_places(engine)[0]:
        return
    engine.execute("CREATE OR REPLACE TABLE own_rows AS SELECT DISTINCT * FROM own_rows")
    count, first = _in_two_places(engine)
    if count:
        engine.execute("DROP TABLE own_rows")
        raise DataError(
            f"{TABLE}: PostgreSQL has {counted(count, 'row')} with other values than the archive, such as {first}: see "
            "docs/operations.md, rows that are archived already"
        )


def _refuse_parts_of_cents(engine: duckdb.DuckDBPyConnection) -> None:
    refused = engine.execute(
        "SELECT DISTINCT id, epoch_ms(created_at), amount_in_parts, currency FROM own_rows "
        "WHERE amount_in_parts IS NOT NULL ORDER BY id"
    ).fetchall()
    if not refused:
        return
    shown = ", ".join(
        f"{amount} {currency} of {day_of(from_unix_ms(created_ms))} in {row_id}"
        for row_id, created_ms, amount, currency in refused[:_SHOWN]
    )
    raise DataError(
        f"{TABLE}: {counted(len(refused), 'row has', 'rows have')} an amount with a part of a cent: {shown}. "
        "A statement has whole cents, so such a row can agree with no line: its amount must be corrected in the table"
    )


def _in_two_places(engine: duckdb.DuckDBPyConnection) -> tuple[int, UUID | None]:
    """How many rows are there more than once, and the first of their ids."""
    rows = "SELECT id FROM own_rows GROUP BY id, created_at, by_id HAVING count(*) > 1"
    count, first = engine.execute(f"SELECT count(DISTINCT id), min(id) FROM ({rows})").fetchall()[0]
    return count, first


@dataclass(frozen=True, slots=True)
class Months:
    """The months of the table as the catalogue has them, and the numbers of its columns."""

    states: Sequence[MonthState]
    numbered: Sequence[Column]


def read_months(connection: Connection, table: TieredTable) -> Months:
    """The months and the columns. The parents must be locked, see `sql.relations.lock_parents`."""
    hot = find_relation(connection, table.hot_parent)
    fields = read_fields(connection, table, hot)
    return Months(month_states(connection, table), fields.numbered(columns_of(connection, hot)))


def objects_in(settings: Settings, months: Months, sources: Sequence[str]) -> dict[str, ArchivedObject]:
    """The archived objects that sources read, by their addresses."""
    objects = objects_of(settings, TABLE, (state for state in months.states if state.is_archived))
    return {address: item for address, item in objects.items() if any(literal(address) in text for text in sources)}


def sources_of_parents(settings: Settings, parents: Parents, months: Months, window: Window) -> list[str]:
    """The parts of ``own_rows`` for the window's rows alone. PostgreSQL's come by one query over both parents, which
    needs no privilege on a partition and leaves out no partition that others made. Those of archived months come from
    their files. The parents must be locked, see `sql.relations.lock_parents`. Raises DataError when a month of the
    window is not where the catalogue says.
    """
    columns = ", ".join(name for name, _ in _COLUMNS)
    branches = (f"SELECT {columns} FROM {_qualified(parent)} WHERE {_in_window(window)}" for parent in parents.found)
    sources = [_nothing(), f"SELECT {_SELECTED}, false AS by_id FROM {postgres_query(0, ' UNION ALL '.join(branches))}"]
    for state in months.states:
        if state.month.lower < window.upper and state.month.upper > window.lower:
            _refuse_missing(state)
            if state.is_archived:
                source = f"{_archived(settings, state, months)} WHERE {_in_window(window)}"
                sources.append(f"SELECT {_SELECTED}, false AS by_id FROM {source}")
    return sources


def _carried(settings: Settings, parents: Parents, months: Months, window: Window) -> Iterator[str]:
    """The parts of ``own_rows`` for the carried rows: by the indexes in PostgreSQL, by bloom filter in the archive."""
    if not window.carried:
        return
    wanted = ", ".join(literal(str(carried)) for carried in window.carried)
    columns = ", ".join(name for name, _ in _COLUMNS)
    branches = (f"SELECT {columns} FROM {_qualified(parent)} WHERE id IN ({wanted})" for parent in parents.found)
    yield f"SELECT {_SELECTED}, true AS by_id FROM {postgres_query(0, ' UNION ALL '.join(branches))}"
    for state in months.states:
        if not any(_may_hold(state, carried) for carried in window.carried):
            continue
        _refuse_missing(state)
        if state.is_archived:
            yield f"SELECT {_SELECTED}, true AS by_id FROM {_archived(settings, state, months)} WHERE id IN ({wanted})"


def _may_hold(state: MonthState, row_id: UUID) -> bool:
    """Whether a row may be in a month: where its keys are proved to be of the month, the id contains it."""
    moment = time_of(row_id)
    is_of_month = moment is not None and state.month.lower <= moment < state.month.upper
    return is_of_month or (state.is_archived and not state.catalogue.keys_tell_month)


def _refuse_missing(state: MonthState) -> None:
    if state.is_missing:
        raise DataError(
            f"{TABLE} {state.month} is {state.tier} by the catalogue, but PostgreSQL has no such partition: attach it "
            "again, see docs/operations.md"
        )
    if state.partition is not None and state.partition.detach_pending:
        raise DataError(
            f"{TABLE} {state.month}: {state.partition.relation} is half detached, and its parent shows no row of it: "
            "finish that (ALTER TABLE ... DETACH PARTITION ... FINALIZE) and attach it again, see docs/operations.md"
        )


def _nothing() -> str:
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in (*_COLUMNS, ("amount_in_parts", "VARCHAR")))
    return f"SELECT {columns}, false AS by_id WHERE false"


def _archived(settings: Settings, state: MonthState, months: Months) -> str:
    columns = state.catalogue.archived_columns
    names = matched(months.numbered, columns) if columns else None
    return source_of(settings, state, names)


def _in_window(window: Window) -> str:
    lower, upper = (literal(moment.isoformat()) for moment in (window.lower, window.upper))
    inside = f"created_at >= TIMESTAMPTZ {lower} AND created_at < TIMESTAMPTZ {upper}"
    return f"supplier = {literal(window.supplier)} AND {inside}"


def _qualified(relation: Relation) -> str:
    return f"{identifier(relation.schema)}.{identifier(relation.name)}"
