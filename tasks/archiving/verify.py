"""Proof before loss: what PostgreSQL holds and what the object store gave back, compared by content."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb

from config import Settings
from ledger.columns import Column
from ledger.errors import VerificationError
from ledger.months import Month
from ledger.proof import MonthProof, differences, groups_of
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.exclusion import keys_tell_month
from sql.proof import LAST_BLOCK, groups_query, leaves_query
from sql.queries import load
from sql.relations import Relation
from storage.engine import engine
from storage.proof import fold_leaves, parquet_proof
from storage.store import StoredFile
from tasks.querying.link import linked, postgres_query, translated

_BLOCK_BYTES = 8192
_CATALOG = load("catalog")


def postgres_proof(
    link: duckdb.DuckDBPyConnection,
    connection: Connection,
    settings: Settings,
    table: TieredTable,
    columns: Sequence[Column],
    partition: Relation,
    month: Month,
) -> MonthProof:
    """The proof of a sealed partition. PostgreSQL computes every leaf hash and every sum; ``link`` carries and sorts.

    The heap is read in as many ranges as the engine has threads, each in a session of its own.
    """
    groups = groups_of(connection.execute(groups_query(table, partition)).fetchall())
    heap_bytes = int(fetch_one(connection, _CATALOG["heap_bytes"], {"relation": partition.oid})[0])
    blocks = heap_bytes // _BLOCK_BYTES
    ranges = _split(blocks, settings.archive_threads)
    with linked(link, settings, links=len(ranges)), translated(settings):
        parts = (
            f"SELECT key, leaf FROM {postgres_query(number, _text(connection, table, columns, partition, part))}"
            for number, part in enumerate(ranges)
        )
        tree = fold_leaves(link, " UNION ALL ".join(parts))
    return MonthProof(tree.root(), groups, keys_tell_month=keys_tell_month(connection, table, partition, month))


def _split(blocks: int, parts: int) -> list[range]:
    """The heap's blocks in ``parts`` ranges; the last has no upper bound, so no block is ever left out."""
    step = blocks // parts + 1
    starts = [number * step for number in range(parts)]
    return [range(start, stop) for start, stop in zip(starts, (*starts[1:], LAST_BLOCK), strict=True)]


def _text(
    connection: Connection, table: TieredTable, columns: Sequence[Column], partition: Relation, blocks: range
) -> str:
    return leaves_query(table, columns, partition, blocks).as_string(connection)


def verify_month(
    connection: Connection,
    settings: Settings,
    table: TieredTable,
    columns: Sequence[Column],
    partition: Relation,
    month: Month,
    file: Path,
) -> MonthProof:
    """Compare a file that was read back from the store with the sealed partition; returns their common proof.

    Both sides are computed at the same time. Raises VerificationError that says what differs.
    """
    with engine(settings, share=2) as link, engine(settings, share=2) as reader, ThreadPoolExecutor(1) as side:
        archived_later = side.submit(parquet_proof, reader, table, columns, month, file)
        try:
            held = postgres_proof(link, connection, settings, table, columns, partition, month)
        finally:
            archived = archived_later.result()  # if both sides fail, this one knows which row cannot be archived
    found = differences(held, archived, {"here": "PostgreSQL", "there": "the archive"})
    if found:
        raise VerificationError(f"{table.name} {partition}: {'; '.join(found)}")
    return held


def check_bytes(written: StoredFile, read: StoredFile, key: str) -> None:
    """Raise VerificationError unless what was read back is byte for byte what was written."""
    if read != written:
        raise VerificationError(
            f"{key}: wrote {written.size_bytes} bytes with SHA-256 {written.sha256.hex()}, "
            f"read back {read.size_bytes} bytes with SHA-256 {read.sha256.hex()}"
        )
