"""Places of rows, as the auditor's views are made of them, and what a query needs of each."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import duckdb

from ledger.columns import Column
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from storage.conditions import EVERYTHING, Asked
from storage.engine import identifier, literal

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
        return not Tier(self.tier).is_in_postgres

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


PlanWatch = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[object]]
"""Watches over the work of an engine in a block: interrupts it when it takes too long."""
