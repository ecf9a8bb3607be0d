"""Our side of a day, from wherever its rows are now: hot and warm from PostgreSQL, cold and deep from the archive."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import duckdb

from config import Settings
from ledger.business_days import bounds
from ledger.identifiers import created_at_of
from ledger.months import Month
from ledger.policy import Tier
from sql.connection import connect
from sql.relations import Parents, Relation, lock_parents
from storage.engine import identifier, literal, url_of
from tasks.archiving.catalogue import MonthState, month_states
from tasks.querying.link import linked, postgres_query, translated

TABLE = "vas_transactions"
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
_SELECTED = ", ".join(f"{name}::{kind} AS {name}" for name, kind in _COLUMNS)


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
    or the archive does not answer.
    """
    table = settings.table(TABLE)
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        lock_parents(connection, table)
        states = month_states(connection, table)
        with linked(engine, settings, links=1), translated(settings):
            engine.execute(f"CREATE TABLE own_rows AS {' UNION ALL '.join(_sources(settings, states, window))}")
    try:
        yield
    finally:
        engine.execute("DROP TABLE IF EXISTS own_rows")


def _sources(settings: Settings, states: Sequence[MonthState], window: Window) -> Iterator[str]:
    yield _nothing()
    for state in states:
        carried = [one for one in window.carried if _is_in(one, state.month)]
        if state.month.lower < window.upper and state.month.upper > window.lower:
            yield f"SELECT {_SELECTED}, false AS by_id FROM {_rows_of(settings, state, window)}"
        if carried:
            yield _by_id(settings, state, carried)


def sources_of_parents(settings: Settings, parents: Parents, states: Sequence[MonthState], window: Window) -> list[str]:
    """The parts of ``own_rows`` for the window's rows alone: PostgreSQL's by one statement over both parents, which
    needs no privilege on a partition; the archived months' from their files. The parents must be locked, see
    `sql.relations.lock_parents`.
    """
    columns = ", ".join(name for name, _ in _COLUMNS)
    branches = (f"SELECT {columns} FROM {_qualified(parent)} WHERE {_in_window(window)}" for parent in parents.found)
    sources = [_nothing(), f"SELECT {_SELECTED}, false AS by_id FROM {postgres_query(0, ' UNION ALL '.join(branches))}"]
    for state in states:
        if state.partition is None and state.month.lower < window.upper and state.month.upper > window.lower:
            archived = f"{_archived(settings, state)} WHERE {_in_window(window)}"
            sources.append(f"SELECT {_SELECTED}, false AS by_id FROM {archived}")
    return sources


def _nothing() -> str:
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _COLUMNS)}, false AS by_id WHERE false"


def _is_in(row_id: UUID, month: Month) -> bool:
    return month.lower <= created_at_of(row_id) < month.upper


def _rows_of(settings: Settings, state: MonthState, window: Window) -> str:
    """The window's rows of one month. In PostgreSQL it is PostgreSQL that chooses them: the engine would read all."""
    if state.partition is None:
        return f"{_archived(settings, state)} WHERE {_in_window(window)}"
    columns = ", ".join(name for name, _ in _COLUMNS)
    return postgres_query(0, f"SELECT {columns} FROM {_qualified(state.partition.relation)} WHERE {_in_window(window)}")


def _archived(settings: Settings, state: MonthState) -> str:
    if state.catalogue.object_key is None or state.tier is Tier.DELETED:
        nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in (*_COLUMNS, ("supplier", "VARCHAR")))
        return f"(SELECT {nothing} WHERE false)"
    return f"read_parquet({literal(url_of(settings, state.catalogue.object_key))}, hive_partitioning = false)"


def _in_window(window: Window) -> str:
    lower, upper = (literal(moment.isoformat()) for moment in (window.lower, window.upper))
    inside = f"created_at >= TIMESTAMPTZ {lower} AND created_at < TIMESTAMPTZ {upper}"
    return f"supplier = {literal(window.supplier)} AND {inside}"


def _qualified(relation: Relation) -> str:
    return f"{identifier(relation.schema)}.{identifier(relation.name)}"


def _by_id(settings: Settings, state: MonthState, carried: Sequence[UUID]) -> str:
    """Single rows of another month: by primary key in PostgreSQL, by bloom filter in the archive."""
    wanted = ", ".join(literal(str(one)) for one in carried)
    if state.partition is None:
        return f"SELECT {_SELECTED}, true AS by_id FROM {_archived(settings, state)} WHERE id IN ({wanted})"
    columns = ", ".join(name for name, _ in _COLUMNS)
    query = f"SELECT {columns} FROM {_qualified(state.partition.relation)} WHERE id IN ({wanted})"
    return f"SELECT {_SELECTED}, true AS by_id FROM {postgres_query(0, query)}"
