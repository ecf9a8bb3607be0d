"""The composition of a query of the watch for a table: which rows count, and where they are read."""

from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier

from config.watch_transactions import WatchTransactions
from ledger.tables import TieredTable
from sql.queries import load

_QUERIES = load("watch")
# A fee is not something that a user does: it must neither add up to a day nor wake a dormant account.
_EVERY_TYPE = ("send", "receive", "deposit", "withdraw", "transfer", "payment", "refund")
# No money moved. One that is reversed did move, and moved back.
_VOID = ("failed", "cancelled")


def parameters_of(table: TieredTable, watch: WatchTransactions) -> dict[str, Any]:
    """The parameters that every query of the watch may ask for."""
    return {
        "table": table.name,
        "zone": watch.zone,
        "every_type": list(_EVERY_TYPE),
        "void_statuses": list(_VOID),
    }


def statement(table: TieredTable, schema: str, query: str) -> Composed:
    """A query of `sql/queries/watch.sql` over the table's view, in the ``schema`` of its parents."""
    return _filled(query, rows=SQL("({})").format(_filled(_QUERIES["rows"], ledger=Identifier(schema, table.name))))


def taking(table: TieredTable, schema: str) -> Composed:
    """The statement that takes the rows of a slice. It reads both parents themselves: a view shows no transactions."""
    hot, warm = Identifier(schema, table.hot_parent), Identifier(schema, table.warm_parent)
    return _filled(_QUERIES["take_slice"], hot=hot, warm=warm)


def keeping(table: TieredTable, schema: str, rule: str) -> Composed:
    """The statement that keeps what the query of a rule finds and gives back what is new."""
    return _filled(_QUERIES["keep"], found=statement(table, schema, rule))


def _filled(query: str, **parts: Composable) -> Composed:
    return SQL(query).format(**parts)
