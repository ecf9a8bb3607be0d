"""Proof before loss: what PostgreSQL holds and what the object store gave back, compared row by row and by their sums.

PostgreSQL's side is computed while the file is written and uploaded: the month is sealed by then. It is a count, sums
and one hash a row, from PostgreSQL's own expressions. The other side comes from a fresh read of the stored object by
a reader that did not write it (`storage.month_tree`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from config import Settings
from ledger.columns import Column
from ledger.counts import counted
from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES
from ledger.months import Month
from ledger.proof import MonthContent, differences, totals_of
from ledger.tables import TieredTable
from sql.connection import connect, fetch_one
from sql.exclusion import keys_tell_month
from sql.proof import LAST_BLOCK, leaves_query, totals_query
from sql.queries import load
from sql.relations import Relation
from storage.leaf_files import only_on_one_side
from storage.month_tree import FileTree, ReadFile
from storage.store import StoredFile

_BLOCK_BYTES = 8192
_RANGE_BLOCKS = 4096  # 32 MB of heap, which gives PostgreSQL no more than some MB of hashes to keep
_CATALOG = load("catalog")


@dataclass(frozen=True, slots=True)
class HeldRows:
    """PostgreSQL's side: what it counts and sums, and files with the leaf of every row, in no order."""

    content: MonthContent
    leaves: tuple[Path, ...]


def read_held_rows(
    settings: Settings,
    table: TieredTable,
    columns: Sequence[Column],
    partition: Relation,
    month: Month,
    spool: Path,
) -> HeldRows:
    """PostgreSQL's side of a sealed partition, over connections of its own; ``spool`` is a folder for the leaves.

    Memory does not grow with the month. Reads only; safe to run again. Raises the database's errors, also for a date
    that is infinite.
    """
    with connect(settings.database_dsn, "proof") as connection:
        heap_bytes = int(fetch_one(connection, _CATALOG["heap_bytes"], {"relation": partition.oid})[0])
    ranges = _ranges(heap_bytes // _BLOCK_BYTES)
    shares = [ranges[number :: settings.archive_threads] for number in range(settings.archive_threads)]
    files = tuple(spool / f"held-{number}.leaves" for number in range(len(shares)))
    with ThreadPoolExecutor(1 + len(shares)) as threads:
        content = threads.submit(_content, settings, table, partition, month)
        written = [
            threads.submit(_write_leaves, settings, columns, partition, share, file)
            for share, file in zip(shares, files, strict=True)
        ]
        rows = sum(future.result() for future in written)
        held = HeldRows(content.result(), files)
    if rows != held.content.rows:
        raise VerificationError(
            f"{table.name} {partition}: PostgreSQL hashed {rows} rows and counted {held.content.rows}"
        )
    return held


def _ranges(blocks: int) -> list[range]:
    """The heap's blocks in ranges; the last has no upper bound, so no block is ever left out."""
    starts = list(range(0, blocks + 1, _RANGE_BLOCKS))
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], LAST_BLOCK], strict=True)]


def _content(settings: Settings, table: TieredTable, partition: Relation, month: Month) -> MonthContent:
    with connect(settings.database_dsn, "proof") as connection:
        totals = totals_of(connection.execute(totals_query(table, partition)).fetchall())
        return MonthContent(totals, keys_tell_month(connection, table, partition, month))


def _write_leaves(
    settings: Settings, columns: Sequence[Column], partition: Relation, ranges: Sequence[range], target: Path
) -> int:
    """Write the leaves of the rows in some ranges of blocks; returns their number."""
    total = 0
    with connect(settings.database_dsn, "proof") as connection, target.open("wb") as file:
        for blocks in ranges:
            query = leaves_query(columns, partition, blocks)
            leaves, rows = connection.execute(query, binary=True).fetchall()[0]
            if len(leaves) != rows * HASH_BYTES:
                raise VerificationError(f"{partition}: PostgreSQL sent {len(leaves)} bytes for {rows} rows")
            file.write(leaves)
            total += rows
    return total


def compare(table: TieredTable, partition: Relation, held: HeldRows, read: ReadFile) -> FileTree:
    """Return the file's tree when both sides are equal row by row. Raises VerificationError that names what differs."""
    problems = differences(held.content, read.content, {"here": "PostgreSQL", "there": "the archive"})
    missing, extra = only_on_one_side(held.leaves, read.leaves)
    if missing:
        problems.append(f"{counted(missing, 'row')} of PostgreSQL not in the archive")
    if extra:
        problems.append(f"{counted(extra, 'row')} of the archive not in PostgreSQL")
    if problems:
        raise VerificationError(f"{table.name} {partition}: {'; '.join(problems)}")
    return read.tree


def check_bytes(written: StoredFile, read: StoredFile, key: str) -> None:
    """Raise VerificationError unless what was read back is byte for byte what was written."""
    if read != written:
        raise VerificationError(
            f"{key}: wrote {written.size_bytes} bytes with SHA-256 {written.sha256.hex()}, "
            f"read back {read.size_bytes} bytes with SHA-256 {read.sha256.hex()}"
        )
