"""Which months a query needs, found by DuckDB's own optimizer before any file is opened.

Opening a file costs round trips to the object store, and ten years are hundreds of files. So the query is first
planned over stand-ins: one small table per month, under the month's bounds, with values at both ends of every type, so
that statistics rule out nothing but what the bounds rule out. A month whose stand-in the optimizer drops cannot hold
an answer; the others are bound for real. Whatever the optimizer cannot see through stays in: pruning is only ever an
omission of what is proved to be empty. The same plan says what each month is asked for (`storage.conditions`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

import duckdb

from ledger.columns import Column, ColumnKind
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import totals_columns
from storage.conditions import EVERYTHING, Asked, Condition, asked_of, has_wide_sum, plain_plans, plan_nodes
from storage.engine import identifier, literal, renamed, sql_type
from storage.exact import register_exact
from storage.moment import fix_moment
from storage.wide_sums import checked, register_checks

_STAND_IN = "stand_in_"
_EXTREMES: Mapping[ColumnKind, tuple[str, str]] = {
    ColumnKind.UUID: ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    ColumnKind.TEXT: ("''", "repeat(chr(1114111), 32)"),
    ColumnKind.JSON: ("''", "repeat(chr(1114111), 32)"),
    ColumnKind.BOOLEAN: ("false", "true"),
    ColumnKind.INTEGER: ("-9223372036854775808", "9223372036854775807"),
    ColumnKind.TIMESTAMP: ("'-infinity'", "'infinity'"),
    ColumnKind.DATE: ("'-infinity'", "'infinity'"),
}


Described = tuple[TieredTable, tuple[Column, ...]]


@dataclass(frozen=True, eq=False)
class FileColumns:
    """The columns of archived files: their names there and in the view, and the columns themselves. Files share one."""

    names: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]

    @cached_property
    def there(self) -> Mapping[str, str]:
        """The names in the file, by those in the view."""
        return {new: old for old, new in self.names}

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names in the file."""
        return {column.name: column for column in self.columns}


@dataclass(frozen=True, slots=True)
class ColdFile:
    """An archived file that is read checked (`storage.archive_files`): the engine's path, which names tier and month,
    and its columns. Files of one layout are scanned together.
    """

    path: str
    layout: FileColumns


@dataclass(frozen=True, slots=True)
class Branch:
    """A place of rows of a table in one tier: one arm of the union that the auditor's view is.

    ``source`` is a FROM item. ``month`` is None for a partition that holds other rows than those of one month.
    ``keys_tell_month`` says that a CHECK, or the proof of the archived month, keeps every key within the month. A place
    that cannot be read has a ``refusal``, which says why; one that the catalogue does not know has a ``note``. An
    archived file that is read checked is the ``file``: its rows are those that were proved, and need no bounds.
    """

    table: TieredTable
    month: Month | None
    tier: str
    source: str
    keys_tell_month: bool = False
    refusal: str = ""
    note: str = ""
    file: ColdFile | None = None

    @property
    def is_archived(self) -> bool:
        """Whether the place is in the archive, or was there before it was deleted."""
        return self.tier not in ("hot", "warm")

    def select(self, source: str) -> str:
        """The rows out of ``source``, with their tier and month, under the bounds that they are known to keep."""
        tier = f"{literal(self.tier)} AS tier"
        if self.month is None:
            month = f"strftime({identifier(self.table.time_column)}, '%Y-%m')"
            return f"SELECT *, {tier}, {month} AS month FROM {source}"
        return f"SELECT *, {tier}, {literal(str(self.month))} AS month FROM {source} WHERE {self._bounds(self.month)}"

    def _bounds(self, month: Month) -> str:
        time_column, key = identifier(self.table.time_column), identifier(self.table.key_column)
        lower, upper = (f"TIMESTAMPTZ {literal(moment.isoformat())}" for moment in (month.lower, month.upper))
        bounds = f"{time_column} >= {lower} AND {time_column} < {upper}"
        if self.keys_tell_month:
            first, last = id_bounds(month)
            bounds += f" AND {key} >= {literal(str(first))}::UUID AND {key} < {literal(str(last))}::UUID"
        return bounds


@dataclass(frozen=True, slots=True)
class Need:
    """A branch that a query can get rows from, and what it asks it for."""

    branch: Branch
    asked: Asked = EVERYTHING


@dataclass(frozen=True, slots=True)
class Plan:
    """What a query reads, the text to run in its place (`storage.wide_sums`), and the names of its columns. ``totals``
    is what it asks views of daily totals for, by their names.
    """

    needs: list[Need]
    query: str
    names: tuple[str, ...]
    totals: Mapping[str, Asked] = field(default_factory=dict)


Watch = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[object]]
"""Watches over the work of an engine in a block: interrupts it when it takes too long."""


def plan_of(
    tables: Sequence[Described],
    branches: Sequence[Branch],
    query: str,
    config: Mapping[str, str],
    moment: datetime,
) -> Plan:
    """The branches that ``query`` can get rows from when it is now ``moment`` (aware).

    Raises duckdb.Error when it is not a valid query over the views.
    """
    with duckdb.connect(config=dict(config)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return Planner(connection, tables, branches).plan(query, moment)


class Planner:
    """The stand-ins of months, in a connection that nothing else is in."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, tables: Sequence[Described], branches: Sequence[Branch]
    ) -> None:
        self._connection = connection
        self._moment: datetime | None = None
        self._named = {f"{_STAND_IN}{number}": branch for number, branch in enumerate(branches)}
        columns = {table.name: described for table, described in tables}
        self._columns = {name: (branch.table, columns[branch.table.name]) for name, branch in self._named.items()}
        for name, (_, described) in self._columns.items():
            create_stand_in(connection, name, described)
        register_checks(connection)
        register_exact(connection)
        create_views(connection, tables, [(branch, name) for name, branch in self._named.items()])
        for table, described in tables:
            for view in table.totals_views:
                create_stand_in(connection, identifier(view), totals_columns(table, described))

    def plan(self, query: str, moment: datetime) -> Plan:
        """See `plan_of`."""
        if moment != self._moment:
            fix_moment(self._connection, moment)
            self._moment = moment
        self._connection.execute("RESET disabled_optimizers")
        physical = self._connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1]
        found = set(scanned_tables(json.loads(physical)))
        plain_plans(self._connection)
        nodes = plan_nodes(self._connection, query)
        asked = asked_of(nodes, self._columns) if nodes else {}
        needs = [Need(branch, asked.get(name, EVERYTHING)) for name, branch in self._named.items() if name in found]
        needs = [need for need in needs if _may_hold(need)]
        names = tuple(str(row[0]) for row in self._connection.execute(f"DESCRIBE {query}").fetchall())
        is_wide = nodes is None or has_wide_sum(nodes)
        return Plan(needs, checked(self._connection, query) if is_wide else query, names)


def _may_hold(need: Need) -> bool:
    """Whether a month may have a row that is asked for by its key: the optimizer does not see it for a list of keys."""
    branch, alternatives = need.branch, need.asked.alternatives
    if branch.month is None or not branch.keys_tell_month or not alternatives:
        return True
    first, last = id_bounds(branch.month)

    def is_possible(condition: Condition) -> bool:
        if (condition.column, condition.comparison) != (branch.table.key_column, "="):
            return True
        return any(not isinstance(value, UUID) or first <= value < last for value in condition.values)

    return any(all(map(is_possible, conditions)) for conditions in alternatives)


def create_views(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[Described],
    arms: Sequence[tuple[Branch, str]],
    *,
    query: str | None = None,
) -> None:
    """For each table the view over all its tiers, and the one over its archived months alone.

    ``arms`` are branches with the FROM item to read them from. They are united by name: a month that was archived
    before a column came has NULL there. A table without arms gets empty views. With a ``query`` the views are
    temporary, in the session of ``connection`` alone, and only those that the text of the query has are made.
    """
    for table, columns in tables:
        mine = [(branch, source) for branch, source in arms if branch.table.name == table.name]
        cold = [(branch, source) for branch, source in mine if branch.is_archived]
        for name, its in ((table.name, mine), (table.cold_view, cold)):
            if query is None or name in query.lower():  # an unquoted name may be in capitals
                kind = "VIEW" if query is None else "TEMP VIEW"
                connection.execute(f"CREATE {kind} {identifier(name)} AS {_union(columns, its)}")


def _union(columns: Sequence[Column], arms: Sequence[tuple[Branch, str]]) -> str:
    """The rows of all arms. One scan with the columns as they are needs no union, which would read a column more to
    count rows.
    """
    selects = _selects(arms)
    file = arms[0][0].file if len(selects) == 1 else None
    if file is not None and arms[0][1] == arms[0][0].source and _has_same_columns(columns, file):
        return selects[0]
    typed = ", ".join(f"NULL::{sql_type(column)} AS {identifier(column.name)}" for column in columns)
    empty = f"SELECT {typed}, NULL::VARCHAR AS tier, NULL::VARCHAR AS month WHERE false"
    return " UNION ALL BY NAME ".join([empty, *selects])


def _has_same_columns(columns: Sequence[Column], file: ColdFile) -> bool:
    names = [(new, sql_type(file.layout.by_name[old])) for old, new in file.layout.names]
    return names == [(column.name, sql_type(column)) for column in columns]


def _selects(arms: Sequence[tuple[Branch, str]]) -> list[str]:
    """A query for each arm, but one for all checked files with the same columns."""
    alike: dict[FileColumns, list[ColdFile]] = {}
    others = []
    for branch, source in arms:
        if branch.file is not None and source == branch.source:
            alike.setdefault(branch.file.layout, []).append(branch.file)
        else:
            others.append(branch.select(source))
    return [*map(_scan, alike.values()), *others]


def _scan(files: Sequence[ColdFile]) -> str:
    paths = ", ".join(literal(file.path) for file in files)
    options = "hive_partitioning = true, hive_types = {'tier': VARCHAR, 'month': VARCHAR}"
    names = (*files[0].layout.names, ("tier", "tier"), ("month", "month"))
    # DuckDB looks for min(month) in the statistics of the files, which have no such column: an internal error, after
    # which the engine answers nothing. Of an expression it takes none.
    own = "tier || '' AS tier, month || '' AS month"
    return f"SELECT * REPLACE ({own}) FROM {renamed(f'read_parquet([{paths}], {options})', names)}"


def create_stand_in(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[Column]) -> None:
    typed = ", ".join(f"{identifier(column.name)} {sql_type(column)}" for column in columns)
    lows, highs = zip(*(_extremes(column) for column in columns), strict=True)
    nulls = ", ".join("NULL" for _ in columns)
    connection.execute(f"CREATE TABLE {name} ({typed})")
    connection.execute(f"INSERT INTO {name} VALUES ({nulls}), ({', '.join(lows)}), ({', '.join(highs)})")


def _extremes(column: Column) -> tuple[str, str]:
    if column.kind is ColumnKind.DECIMAL:
        scale = column.scale or 0
        digits = "9" * ((column.precision or 0) - scale) + "." + "9" * scale
        return f"-{digits}", digits
    return _EXTREMES[column.kind]


def scanned_tables(node: object) -> Iterator[str]:
    """Every table that a plan scans, wherever it is in the tree."""
    if isinstance(node, list):
        for item in node:
            yield from scanned_tables(item)
    elif isinstance(node, dict):
        table = node.get("extra_info", {}).get("Table") if isinstance(node.get("extra_info"), dict) else None
        if isinstance(table, str):
            yield table.rsplit(".", 1)[-1].strip('"')
        yield from scanned_tables(node.get("children", []))
