"""Which rows a query asks a month for, read from the optimizer's plan: only what every engine judges alike.

PostgreSQL and DuckDB do not agree on the order of texts, on patterns or on JSON. So PostgreSQL evaluates only the
conditions below, and they only leave out rows early. DuckDB judges every row that comes back.

* the time column: comparisons with an instant of the years 1 to 9999
* the day of daily totals: comparisons with a day of those years
* columns of UUIDs and of text that the table is asked by: equality, and lists of equals

What is not understood in a plan is not a condition: then more rows come back, and the answer is the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import duckdb

from ledger.columns import Column, ColumnKind
from ledger.tables import TieredTable
from ledger.totals import DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_LIST = 1000
_SAFE_DIGITS = 28
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_LESSTHAN": "<",
}
# Each of these changes a plan in a way that hides conditions or cannot be serialized.
_UNWANTED = "late_materialization,statistics_propagation,compressed_materialization,top_n"
_TOP_BIT = 1 << 63
_HIDING = ("LOGICAL_FILTER", "LOGICAL_CROSS_PRODUCT", "LOGICAL_MATERIALIZED_CTE")
# What a view says of the place of a row. The values are of ASCII, which Python orders as the engine does.
TIER = Column("tier", ColumnKind.TEXT, nullable=False)
MONTH = Column("month", ColumnKind.TEXT, nullable=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """``column`` compared with a value; several values mean that one of them is equal."""

    column: str
    comparison: str
    values: tuple[datetime | date | UUID | str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks a month for.

    A row is wanted when all conditions of one of the ``alternatives`` hold: one alternative for each place of the query
    that reads the month. None of them: every row is wanted. ``columns`` are those that the query reads, None is all.
    """

    columns: frozenset[str] | None = None
    alternatives: tuple[tuple[Condition, ...], ...] = ()


EVERYTHING = Asked()


def plain_plans(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the engine plan in a way that hides no condition."""
    connection.execute(f"SET disabled_optimizers = '{_UNWANTED}'")


def plan_nodes(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]] | None:
    """Every node of the optimized plan for ``query`` of an engine with `plain_plans`; None for a plan that it cannot
    write down.
    """
    row = connection.execute("SELECT json_serialize_plan(?::VARCHAR, optimize := true)", [query]).fetchone()
    nodes: list[dict[str, Any]] = []

    def kept(node: dict[str, Any]) -> dict[str, Any]:
        nodes.append(node)
        return node

    try:
        plan = json.loads(row[0], object_hook=kept) if row else {"error": True}
    except ValueError:  # of a BIT or BIGNUM the engine writes bytes that are not text
        return None
    return None if plan.get("error") else nodes


def is_plain(nodes: Sequence[Mapping[str, Any]], known: Mapping[str, tuple[TieredTable, Sequence[Column]]]) -> bool:
    """Whether a plan can leave out a month only by the conditions of `asked_of`. Then it has no join and no condition
    except those of the scans. Each of those that is about the place of a row is understood.
    """
    if any("JOIN" in str(node.get("type")) or node.get("type") in _HIDING for node in nodes):
        return False
    scans = (node for node in nodes if node.get("type") == "LOGICAL_GET")
    return all(_is_understood(scan, *known[name]) for scan in scans if (name := scanned(scan)) in known)


def _is_understood(scan: Mapping[str, Any], table: TieredTable, columns: Sequence[Column]) -> bool:
    names = [str(name) for name in scan.get("names", ())]
    placing = {column.name: column for column in columns if column in (TIER, MONTH) or column.name in _placing(table)}
    for entry in (scan.get("table_filters") or {}).get("filters", ()):
        name = names[entry["key"]] if entry.get("key", len(names)) < len(names) else ""
        if name in placing and not _necessary(placing[name], entry.get("value") or {}):
            return False
    return True


def _placing(table: TieredTable) -> tuple[str, str]:
    return table.time_column, table.key_column


def scanned(scan: Mapping[str, Any]) -> str:
    return str((scan.get("function_data") or {}).get("table"))


def has_wide_sum(nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a plan adds up numbers so wide that a sum of 10**10 of them may have more than 38 digits."""
    adding = (node for node in nodes if node.get("expression_class") in ("BOUND_AGGREGATE", "BOUND_WINDOW"))
    return any(_is_wide(kind) for node in adding for kind in node.get("arguments", ()))


def _is_wide(kind: Mapping[str, Any]) -> bool:
    width = (kind.get("type_info") or {}).get("width", 0)
    return kind.get("id") in ("HUGEINT", "UHUGEINT") or (kind.get("id") == "DECIMAL" and width > _SAFE_DIGITS)


def asked_of(
    nodes: Sequence[Mapping[str, Any]], tables: Mapping[str, tuple[TieredTable, Sequence[Column]]]
) -> dict[str, Asked]:
    """What a plan asks each of ``tables`` for, by their names in it. A name that is missing: everything."""
    questions: dict[str, list[Asked]] = {}
    for scan in (node for node in nodes if node.get("type") == "LOGICAL_GET"):
        name = scanned(scan)
        if name in tables:
            questions.setdefault(name, []).append(_asked(scan, *tables[name]))
    return {name: joined(places) for name, places in questions.items()}


def joined(places: Sequence[Asked]) -> Asked:
    """What all places of a query that read one month ask it for."""
    columns = [place.columns for place in places]
    together = (
        None if None in columns else frozenset[str]().union(*(column for column in columns if column is not None))
    )
    if not all(place.alternatives for place in places):
        return Asked(together)
    return Asked(together, tuple(dict.fromkeys(alternative for place in places for alternative in place.alternatives)))


def _asked(scan: Mapping[str, Any], table: TieredTable, columns: Sequence[Column]) -> Asked:
    names = [str(name) for name in scan.get("names", ())]
    askable = {column.name: column for column in columns if _is_askable(table, column)}
    conditions: list[Condition] = []
    for entry in (scan.get("table_filters") or {}).get("filters", ()):
        name = names[entry["key"]] if entry.get("key", len(names)) < len(names) else ""
        if name in askable:
            conditions += _necessary(askable[name], entry.get("value") or {})
    return Asked(_columns(scan, names), (tuple(conditions),) if conditions else ())


def _columns(scan: Mapping[str, Any], names: Sequence[str]) -> frozenset[str] | None:
    indexes = [entry.get("index") for entry in scan.get("column_indexes", ())]
    if not all(isinstance(index, int) for index in indexes):
        return None
    return frozenset(names[index] for index in indexes if index < len(names))  # the number of the row is beyond them


def _is_askable(table: TieredTable, column: Column) -> bool:
    """Whether an index or a sensible share of the rows can be expected behind a condition on the column."""
    if column in (TIER, MONTH) or column is DAY:
        return True
    if column.kind is ColumnKind.TIMESTAMP:
        return column.name == table.time_column
    return column.kind in (ColumnKind.UUID, ColumnKind.TEXT) and column.name in table.looked_up_by


def _necessary(column: Column, node: Mapping[str, Any]) -> list[Condition]:
    """The conditions that every row which passes the filter ``node`` must meet; none for what is not understood."""
    kind = node.get("filter_type")
    if kind == "CONJUNCTION_AND":
        return [condition for child in node.get("child_filters", ()) for condition in _necessary(column, child)]
    if kind == "OPTIONAL_FILTER":
        return _necessary(column, node.get("child_filter") or {})
    if kind == "CONJUNCTION_OR":
        return _one_of(column, [_necessary(column, child) for child in node.get("child_filters", ())])
    if kind == "IN_FILTER":
        return _one_of(column, [_compared(column, "=", value) for value in node.get("values", ())])
    if kind == "CONSTANT_COMPARISON":
        comparison = _COMPARISONS.get(str(node.get("comparison_type")))
        return _compared(column, comparison, node.get("constant") or {})
    return []


def _one_of(column: Column, choices: Sequence[Sequence[Condition]]) -> list[Condition]:
    """A list of equals, where each choice is one equality."""
    if not 0 < len(choices) <= _LONGEST_LIST:
        return []
    if not all(len(choice) == 1 and choice[0].comparison == "=" for choice in choices):
        return []
    return [Condition(column.name, "=", tuple(value for choice in choices for value in choice[0].values))]


def _compared(column: Column, comparison: str | None, constant: Mapping[str, Any]) -> list[Condition]:
    if comparison is None or constant.get("is_null") is not False:
        return []
    is_ordered = column.kind is ColumnKind.TIMESTAMP or column in (TIER, MONTH) or column is DAY
    if comparison != "=" and not is_ordered:
        return []
    value = _value(column.kind, (constant.get("type") or {}).get("id"), constant.get("value"))
    return [] if value is None else [Condition(column.name, comparison, (value,))]


def _value(kind: ColumnKind, type_name: Any, value: Any) -> datetime | date | UUID | str | None:
    """A constant of a plan as Python has it; None when it is of another type, or PostgreSQL could not take it."""
    if kind is ColumnKind.TEXT and type_name == "VARCHAR" and isinstance(value, str):
        return None if "\0" in value else value
    if kind in (ColumnKind.TIMESTAMP, ColumnKind.DATE) and isinstance(value, int):
        return _moment(type_name, value)
    if kind is ColumnKind.UUID and type_name == "UUID" and isinstance(value, dict):
        # The engine turns the highest bit over, so that its signed integers have the order of UUIDs.
        return UUID(int=((int(value["upper"]) + _TOP_BIT) << 64) | int(value["lower"]))
    return None


def _moment(type_name: Any, value: int) -> datetime | date | None:
    """An instant or a day of a plan; None for one that Python has not: infinite, or outside the years 1 to 9999."""
    try:
        if type_name == "TIMESTAMP WITH TIME ZONE":
            return _EPOCH + timedelta(microseconds=value)
        return _EPOCH.date() + timedelta(days=value) if type_name == "DATE" else None
    except OverflowError:
        return None
