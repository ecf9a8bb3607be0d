"""Reading archived months row by row, for the API, whose pages may go on in cold. Files are named by key."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import duckdb

from config import Settings
from ledger.errors import DataError, TransientError, TreasuryError
from ledger.tables import TieredTable
from storage.archive_files import ArchiveFiles, keep_contents, path_of
from storage.conditions import Asked, Condition
from storage.engine import engine, identifier, literal, renamed, url_of
from storage.far_times import within_reach
from storage.object_reader import ArchivedFile, ObjectReader
from storage.readable import naming_unreadable
from storage.row_groups import RowGroups

Names = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ColdFilter:
    """Which archived rows are wanted; None does not filter. ``ids`` are those of several rows.

    ``created_from`` is inclusive and ``created_before`` exclusive, both aware. ``before`` is the place in the order
    (time, key) that the page goes on after.
    """

    id: UUID | None = None
    ids: tuple[UUID, ...] | None = None
    wallet_id: str | None = None
    user_id: str | None = None
    reference: str | None = None
    client_id: str | None = None
    status: str | None = None
    type: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None


class ColdReader:
    """Answers questions about archived months. Thread-safe; keep one for the life of a process and close it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._reader = ObjectReader(settings)
        self._stack.callback(self._reader.close)
        self._files = ArchiveFiles(self._reader)
        self._row_groups = RowGroups()
        self._checked: dict[str, ArchivedFile] = {}
        self._engine = self._stack.enter_context(engine(settings))
        self._files.register(self._engine)
        keep_contents(self._engine)

    def close(self) -> None:
        """Give the engine's memory back. Safe to call twice."""
        self._stack.close()

    @property
    def location(self) -> str:
        """The archive's URL."""
        return self._settings.archive_location

    def unknown(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` whose lookup is not known yet."""
        return [key for key in keys if key not in self._checked]

    def add(self, files: Iterable[ArchivedFile]) -> None:
        """Take lookups: what they are of is read by checked pieces from now on. Safe to run again."""
        archived_files = list(files)
        self._files.add(archived_files)
        self._checked.update({file.key: file for file in archived_files})

    def rows(
        self,
        table: TieredTable,
        objects: Mapping[str, Names | None],
        columns: Sequence[str],
        where: ColdFilter,
        limit: int,
    ) -> list[dict[str, Any]]:
        """The newest ``limit`` rows in the ``objects`` that fit, newest first, in Python's exact types.

        ``objects`` are keys, each with the names that the columns have in it and the wanted ones; None where they are
        the same. A column that a month did not have yet comes as None. Raises TransientError when the store does not
        answer. Raises DataError when an object is not what it should be, or when none of them has a column that is
        filtered by.
        """
        if not objects:
            return []
        conditions, parameters = _conditions(table, where)
        order = f"{identifier(table.time_column)} DESC, {identifier(table.key_column)} DESC"
        query = f"SELECT * FROM ({self._source(objects)}) WHERE {conditions} ORDER BY {order} LIMIT {int(limit)}"
        try:
            with naming_unreadable(self._settings, objects), self._engine.cursor() as cursor:
                self._read_ahead(table, objects, columns, where)
                rows = within_reach(cursor.execute(query, parameters).to_arrow_table()).to_pylist()
        except duckdb.Error as error:
            raise self._translated(table, error) from error
        return [{name: row.get(name) for name in columns} for row in rows]

    def _translated(self, table: TieredTable, error: duckdb.Error) -> TreasuryError:
        if (failure := self._files.failure_in(str(error))) is not None:
            return failure
        if isinstance(error, duckdb.IOException | duckdb.HTTPException):
            return TransientError(f"the archive cannot be read now: {error}")
        return DataError(f"the archive of {table.name} cannot answer: {error}")

    def _read_ahead(
        self, table: TieredTable, objects: Mapping[str, Names | None], columns: Sequence[str], where: ColdFilter
    ) -> None:
        """Fetch what will be read first of the checked files, from all of them at once."""
        asked = Asked(None, (_equalities(table, where),)) if _equalities(table, where) else Asked()
        searched = (table.key_column, *table.bloom_columns)
        wanted = []
        for key, names in objects.items():
            if (file := self._checked.get(key)) is not None:
                there = dict.fromkeys(columns) if names is None else {new: old for old, new in names}
                named = {new: old or new for new, old in there.items()}
                wanted.append((file, self._row_groups.ranges(file, named, asked, searched)))
        self._reader.read_ahead(wanted)

    def _address(self, key: str) -> str:
        file = self._checked.get(key)
        return url_of(self._settings, key) if file is None else path_of(file.sha256, "cold", "any")

    def _source(self, objects: Mapping[str, Names | None]) -> str:
        """All objects as one relation: those whose columns have the same names are read together."""
        alike: dict[tuple[tuple[str, str], ...] | None, list[str]] = {}
        for key, names in objects.items():
            alike.setdefault(None if names is None else tuple(names), []).append(self._address(key))
        parts = []
        for names, urls in alike.items():
            files = f"read_parquet([{', '.join(map(literal, urls))}], union_by_name = true, hive_partitioning = false)"
            parts.append(f"SELECT * FROM {renamed(files, names)}")
        return " UNION ALL BY NAME ".join(parts)


def _equalities(table: TieredTable, where: ColdFilter) -> tuple[Condition, ...]:
    """What is asked of columns that lie together in a file, or that have filters there."""
    values = {table.key_column: where.id, "wallet_id": where.wallet_id, "reference": where.reference}
    conditions = tuple(Condition(name, "=", (value,)) for name, value in values.items() if value is not None)
    return conditions if where.ids is None else (*conditions, Condition(table.key_column, "=", where.ids))


def _conditions(table: TieredTable, where: ColdFilter) -> tuple[str, list[Any]]:
    key, time_column = identifier(table.key_column), identifier(table.time_column)
    tests: list[tuple[str, Any]] = [
        (f"{key} = ?", where.id),
        (f"{time_column} >= ?", where.created_from),
        (f"{time_column} < ?", where.created_before),
    ]
    equals = ("wallet_id", "user_id", "reference", "client_id", "status", "type")
    tests += [(f"{identifier(name)} = ?", getattr(where, name)) for name in equals]
    wanted = [(test, value) for test, value in tests if value is not None]
    conditions = [test for test, _ in wanted]
    parameters = [value for _, value in wanted]
    if where.ids is not None:
        conditions.append(f"{key} IN ({', '.join('?' for _ in where.ids)})")
        parameters += where.ids
    if where.before is not None:
        conditions.append(f"({time_column} < ? OR ({time_column} = ? AND {key} < ?))")
        parameters += [where.before[0], where.before[0], where.before[1]]
    return " AND ".join(conditions) or "true", parameters
