"""Rows of PostgreSQL that an answer leaves out, because the archive has rows of the same key and time.

What was proved counts. The answer says how many rows it leaves out, and whether any has other values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from ledger.columns import Column
from ledger.counts import counted
from ledger.tables import TieredTable
from storage.engine import identifier, sql_type
from tasks.querying.places import Attached, same_row

_SEE = "see docs/operations.md, rows that are archived already"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a place that the archive has: how many have other values there, and what to say."""

    different: int
    note: str


def find_left_out(
    duck: duckdb.DuckDBPyConnection,
    table: TieredTable,
    columns: Sequence[Column],
    attached: Attached,
    source: str,
    where: str = "true",
) -> LeftOut | None:
    """The rows of ``source``, a FROM item of a place, that fulfil ``where`` and that the archive has; None without any.

    ``columns`` are those of the table's view. To be called in the engine's transaction that also reads the rows.
    """
    if not attached.kept:
        return None
    late, same = f"(SELECT * FROM {attached.named(source)} WHERE {where})", same_row(table)
    rows, _ = _first(
        duck, f"SELECT count(*), NULL FROM {late} AS late JOIN ({attached.kept_keys(table)}) AS kept ON {same}"
    )
    if not rows:
        return None
    note = f"left out {counted(rows, 'row')} of {attached.name} that the archive has, by {table.key_column} and time"
    pairs = f"FROM {late} AS late JOIN ({_whole(columns, attached)}) AS kept ON {same}"
    key, differs = f"late.{identifier(table.key_column)}::VARCHAR", _differs(columns, attached)
    others, first = _first(duck, f"SELECT count(*), min({key}) {pairs} WHERE {differs}")
    if not others:
        return LeftOut(0, f"{note}: each is equal to the archived one")
    has = "has" if others == 1 else "have"
    what = f"{others} of them {has} other values than the archive, which counts, such as {first}"
    return LeftOut(others, f"{note}: {what}; {_SEE}")


def _first(duck: duckdb.DuckDBPyConnection, query: str) -> tuple[int, str | None]:
    ((rows, first),) = duck.execute(query).fetchall()
    return rows, first


def _whole(columns: Sequence[Column], attached: Attached) -> str:
    """The archived rows with every column of the view: NULL where a file has it not."""
    typed = ", ".join(f"NULL::{sql_type(column)} AS {identifier(column.name)}" for column in columns)
    return " UNION ALL BY NAME ".join(
        [f"SELECT {typed} WHERE false", *(f"SELECT * FROM {source}" for source in attached.kept)]
    )


def _differs(columns: Sequence[Column], attached: Attached) -> str:
    """True where a column that PostgreSQL has now has another value in the archive."""
    living = {new for _, new in attached.names}
    tests = [
        f"late.{name}::{kind} IS DISTINCT FROM kept.{name}::{kind}"
        for name, kind in ((identifier(column.name), sql_type(column)) for column in columns if column.name in living)
    ]
    return f"({' OR '.join(tests)})"
