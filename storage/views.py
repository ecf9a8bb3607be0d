"""The auditor's views: one over all places of a table's rows, and one over its archived months alone."""

from collections.abc import Sequence

import duckdb

from ledger.columns import Column
from storage.branches import Branch, ColdFile, Described, FileColumns
from storage.engine import identifier, literal, renamed, sql_type


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
