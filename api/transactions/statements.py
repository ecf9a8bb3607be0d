"""The statements of `transactions.sql` for one table, composed once: identifiers are quoted, values are parameters.

``schema`` is that of the table's parents: `sql.relations.ledger_schema_of` knows it.
"""

from functools import cache

from psycopg import sql
from psycopg.sql import SQL, Identifier, Literal, Placeholder

from ledger.instants import FIRST_INSTANT, LAST_INSTANT
from ledger.months import FIRST_YEAR, LAST_YEAR
from ledger.tables import TieredTable
from ledger.transactions import field_names
from sql.errors import NOT_STORED, STORED_LATE
from sql.queries import load

_QUERIES = load("transactions")
_JSON_COLUMN = "metadata"
_INSTANTS = frozenset({"updated_at", "processed_at"})
# `before` is a keyset. Its first half is also a condition of its own: the planner prunes by plain comparisons only.
_BOUNDS = {
    "created_from": "{time} >= %(created_from)s",
    "created_before": "{time} < %(created_before)s",
    "before": "{time} <= %(before_time)s AND ({time}, {id}) < (%(before_time)s, %(before_id)s)",
}
# By bytes, whatever the column's collation. A page finds rows by indexes, which have that collation: `reading` looks.
_OF_CLIENT = 'client_id COLLATE "C" = %(client_id)s'

CERTIFICATES = _QUERIES["certificates"]
COLD_MONTHS = _QUERIES["cold_months"]
FEED_HORIZON = _QUERIES["feed_horizon"]
NEWEST_ARCHIVED = _QUERIES["newest_archived"]
UNPROVED_MONTHS = _QUERIES["unproved_months"]


@cache
def columns_of(table: TieredTable) -> tuple[str, ...]:
    """The columns of a row that goes in or comes out, in their order."""
    return (table.key_column, *field_names(table), table.time_column, "updated_at")


@cache
def store(table: TieredTable, schema: str) -> bytes:
    """One flush: keys and rows. The rows come as one array for each column."""
    names = columns_of(table)
    return _compose(
        "store",
        table,
        schema,
        columns=_comma([Identifier(name) for name in names]),
        values=_comma([_given(name) for name in names]),
        not_stored=SQL(NOT_STORED),
        stored_late=SQL(STORED_LATE),
        arrays=_comma([SQL("{}::text::{}[]").format(Placeholder(name), SQL(_type(table, name))) for name in names]),
    )


@cache
def find(table: TieredTable, schema: str) -> bytes:
    """One row by id, of one month, with the month's archived parts before it."""
    return _compose("find", table, schema)


@cache
def find_anywhere(table: TieredTable, schema: str) -> bytes:
    """One row by id, of whatever month."""
    return _compose("find_anywhere", table, schema)


@cache
def missing_months(table: TieredTable, schema: str) -> bytes:
    """A month that should be in PostgreSQL and is not."""
    return _compose("missing_months", table, schema)


@cache
def fields(table: TieredTable, schema: str) -> bytes:
    """The numbers of the table's columns."""
    return _compose("fields", table, schema)


@cache
def change_status(table: TieredTable, schema: str) -> bytes:
    """One row's next status, if its present one may be followed by it."""
    status = Identifier(table.status_column or "status")
    return _compose("change_status", table, schema, status=status, not_stored=SQL(NOT_STORED))


@cache
def lock_parents(table: TieredTable, schema: str) -> bytes:
    """Hold off movers for a transaction."""
    return _compose("lock_parents", table, schema)


@cache
def page(table: TieredTable, schema: str, equal: tuple[str, ...], bounds: tuple[str, ...]) -> bytes:
    """The newest rows whose columns ``equal`` have the parameters' values, within the named ``bounds``.

    Only what was asked for is in the statement, so the planner sees which index fits.
    """
    parts: list[sql.Composable] = [SQL("{} = {}").format(Identifier(name), Placeholder(name)) for name in equal]
    parts += [SQL(_BOUNDS[name]).format(**_names(table, schema)) for name in bounds]
    return _compose("page", table, schema, conditions=SQL(" AND ").join(parts or [SQL("true")]))


@cache
def feed(table: TieredTable, schema: str, of_one_client: bool) -> bytes:
    """The rows behind a place, oldest first, of one client or of all."""
    return _compose("feed", table, schema, conditions=SQL(_OF_CLIENT if of_one_client else "true"))


def _compose(query: str, table: TieredTable, schema: str, **parts: sql.Composable) -> bytes:
    columns = _comma([_selected(name) for name in columns_of(table)])
    text = SQL(_QUERIES[query])
    return text.format(**{"columns": columns, **_names(table, schema), **parts}).as_bytes()


def _names(table: TieredTable, schema: str) -> dict[str, sql.Composable]:
    hot, warm = Identifier(schema, table.hot_parent), Identifier(schema, table.warm_parent)
    return {
        "hot": hot,
        "warm": warm,
        "hot_name": Literal(hot.as_string()),
        "warm_name": Literal(warm.as_string()),
        "id": Identifier(table.key_column),
        "time": Identifier(table.time_column),
        "first": Literal(f"{FIRST_YEAR}-01-01 00:00+00"),
        "end": Literal(f"{LAST_YEAR + 1}-01-01 00:00+00"),
    }


def _selected(name: str) -> sql.Composable:
    # JSON leaves PostgreSQL as the text it prints: it is passed on as it is, never parsed and printed again.
    if name == _JSON_COLUMN:
        return SQL("metadata::text AS metadata")
    return _within_reach(Identifier(name)) if name in _INSTANTS else Identifier(name)


def _within_reach(name: Identifier) -> sql.Composable:
    """A time; the last one that JSON and Python have for a later one and for infinity, the first one likewise."""
    return SQL("CASE WHEN {0} > {2} THEN {2} WHEN {0} < {1} THEN {1} ELSE {0} END AS {0}").format(
        name, Literal(FIRST_INSTANT.isoformat()), Literal(LAST_INSTANT.isoformat())
    )


def _given(name: str) -> sql.Composable:
    column = Identifier("given", name)
    return SQL("{}::jsonb AS {}").format(column, Identifier(name)) if name == _JSON_COLUMN else column


def _type(table: TieredTable, name: str) -> str:
    if name == table.key_column:
        return "uuid"
    if name in table.money_columns:
        return "numeric"
    return "timestamptz" if name in _INSTANTS or name == table.time_column else "text"


def _comma(parts: list[sql.Composable] | list[Identifier] | list[sql.Composed]) -> sql.Composed:
    return SQL(", ").join(parts)
