"""From a sealed partition to a Parquet file in the spool: DuckDB scans and sorts, pyarrow writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from config import Settings
from ledger.columns import Column
from ledger.tables import TieredTable
from sql.relations import Relation
from storage.engine import identifier, sql_type
from storage.parquet import BATCH_ROWS, row_group_rows, write_parquet
from tasks.querying.link import linked, linked_relation, translated


def export_partition(
    engine: duckdb.DuckDBPyConnection,
    settings: Settings,
    table: TieredTable,
    columns: Sequence[Column],
    partition: Relation,
    target: Path,
    metadata: Mapping[str, str],
    rows: int,
) -> int:
    """Write the rows of ``partition`` to ``target``, sorted by ``table.cold_sort`` and the key; returns their number.

    ``metadata`` goes into the file's own metadata; ``rows``, the number that is expected, decides on its row groups.

    The sort spills to the spool when the month is larger than the engine's memory. Raises TransientError when
    PostgreSQL goes away. Safe to run again: the file is written again.
    """
    names = ", ".join(
        f"{identifier(column.name)}::{sql_type(column)} AS {identifier(column.name)}" for column in columns
    )
    order = ", ".join(f"{identifier(name)} ASC NULLS LAST" for name in table.cold_order)
    with linked(engine, settings, links=1), translated(settings):
        batches = engine.execute(
            f"SELECT {names} FROM {linked_relation(0, partition)} ORDER BY {order}"
        ).to_arrow_reader(BATCH_ROWS)
        return write_parquet(batches, columns, table, target, metadata, row_group_rows(rows))
