"""Reading archived months row by row, for the API, whose pages may go on in cold. Files are named by key."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import duckdb

from config import Settings
from ledger.errors import DataError, TransientError
from ledger.tables import TieredTable
from storage.engine import engine, identifier, literal, renamed, url_of
from storage.readable import naming_unreadable

Names = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ColdFilter:
    """Which archived rows are wanted; None does not filter.

    ``created_from`` is inclusive and ``created_before`` exclusive, both aware. ``before`` is the place in the order
    (time, key) that the page goes on after.
    """

    id: UUID | None = None
    wallet_id: str | None = None
    user_id: str | None = None
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
        self._engine = self._stack.enter_context(engine(settings))
        # Objects are immutable.
        self._engine.execute("SET parquet_metadata_cache = true; SET enable_external_file_cache = true")

    def close(self) -> None:
        """Give the engine's memory back. Safe to call twice."""
        self._stack.close()

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
        answer, DataError when an object is not what it should be or none of them has a column that is filtered by.
        """
        if not objects:
            return []
        conditions, parameters = _conditions(table, where)
        order = f"{identifier(table.time_column)} DESC, {identifier(table.key_column)} DESC"
        query = f"SELECT * FROM ({self._source(objects)}) WHERE {conditions} ORDER BY {order} LIMIT {int(limit)}"
        try:
            with naming_unreadable(self._settings, objects), self._engine.cursor() as cursor:
                found = cursor.execute(query, parameters).to_arrow_table().to_pylist()
        except (duckdb.IOException, duckdb.HTTPException) as error:
            raise TransientError(f"the archive cannot be read now: {error}") from error
        except duckdb.Error as error:
            raise DataError(f"the archive of {table.name} cannot answer: {error}") from error
        return [{name: row.get(name) for name in columns} for row in found]

    def _source(self, objects: Mapping[str, Names | None]) -> str:
        """All objects as one relation: those whose columns have the same names are read together."""
        alike: dict[tuple[tuple[str, str], ...] | None, list[str]] = {}
        for key, names in objects.items():
            alike.setdefault(None if names is None else tuple(names), []).append(url_of(self._settings, key))
        parts = []
        for names, urls in alike.items():
            files = f"read_parquet([{', '.join(map(literal, urls))}], union_by_name = true, hive_partitioning = false)"
            parts.append(f"SELECT * FROM {renamed(files, names)}")
        return " UNION ALL BY NAME ".join(parts)


def _conditions(table: TieredTable, where: ColdFilter) -> tuple[str, list[Any]]:
    key, time_column = identifier(table.key_column), identifier(table.time_column)
    tests: list[tuple[str, Any]] = [
        (f"{key} = ?", where.id),
        (f"{time_column} >= ?", where.created_from),
        (f"{time_column} < ?", where.created_before),
    ]
    equals = ("wallet_id", "user_id", "client_id", "status", "type")
    tests += [(f"{identifier(name)} = ?", getattr(where, name)) for name in equals]
    wanted = [(test, value) for test, value in tests if value is not None]
    conditions = [test for test, _ in wanted]
    parameters = [value for _, value in wanted]
    if where.before is not None:
        conditions.append(f"({time_column} < ? OR ({time_column} = ? AND {key} < ?))")
        parameters += [where.before[0], where.before[0], where.before[1]]
    return " AND ".join(conditions) or "true", parameters
