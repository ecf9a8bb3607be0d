"""Files of found rows: one query over all tiers, in a thread, into a file on disk, which is sent when it is whole.

So an answer is whole, or it is an error: a browser never gets the beginning of a file that could not be finished.
"""

import csv
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from threading import Lock
from typing import IO, Any, Final, TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet as pq

from api.dashboard.search import By, RowSearch
from api.dashboard.shown_rows import MASKED, shown
from api.routing.problems import UNAVAILABLE, HttpError
from api.transactions.statements import columns_of
from config import Settings
from ledger.errors import DataError, NotYetError, TransientError, VerificationError
from ledger.spreadsheet_cells import safe_text
from ledger.tables import TieredTable
from storage.engine import identifier, literal
from storage.far_times import within_reach
from tasks.querying.query import Answer, Querier

T = TypeVar("T")

MOST_ROWS = 100_000
TIMEOUT_S = 60.0
CUT = b"treasury.cut"  # the key of Parquet's metadata that says so of a file that was cut
_WAITING = 4  # more of them would be answered after their clients have gone
_AS_TEXT = ("id", "metadata")
_PART_BYTES = 1 << 16


class DownloadFormat(StrEnum):
    """The form of a file."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is whole. ``cut``: the search has more than these ``rows``."""

    file: IO[bytes]
    size_bytes: int
    rows: int
    cut: bool

    def parts(self) -> Iterator[bytes]:
        """The bytes, once; the file is removed behind the last one."""
        with self.file as file:
            while part := file.read(_PART_BYTES):
                yield part


class DownloadDesk:
    """Makes files, one at a time. Each is safe to ask for again; more requests than may wait get TransientError."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = Lock()
        self._querier: Querier | None = None

    async def make(self, wanted: RowSearch, form: DownloadFormat) -> Download:
        """The file of a search. Raises NotYetError for rows in deep storage, TransientError, and HttpError for an
        answer that takes too long or cannot be whole.
        """
        return await self._alone(lambda: self._asked(query_of(wanted, MOST_ROWS + 1), partial(self._write, form=form)))

    async def count(self, wanted: RowSearch) -> int:
        """The number of all rows of a search, however many there are. Raises as `make`."""
        return await self._alone(lambda: self._asked(count_of(wanted), _number))

    async def _alone(self, work: Callable[[], T]) -> T:
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise TransientError("too many downloads wait")
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def close(self) -> None:
        """Close what archived months are read with. Safe to call twice."""
        with self._lock:
            querier, self._querier = self._querier, None
        if querier is not None:
            querier.close()

    def _asked(self, query: str, read: Callable[[Answer], T]) -> T:
        """What ``read`` makes of the answer to a query."""
        began_s = time.monotonic()
        try:
            with self._opened().answer(query, TIMEOUT_S) as answer:
                return read(answer)
        except (NotYetError, VerificationError):
            raise
        except DataError as error:
            raise _refusal(time.monotonic() - began_s) from error
        except OSError as error:
            raise HttpError(UNAVAILABLE, f"The server cannot write the file: {error.strerror}.") from error

    def _opened(self) -> Querier:
        with self._lock:
            if self._querier is None:
                self._querier = Querier(self._settings)
            return self._querier

    def _write(self, answer: Answer, form: DownloadFormat) -> Download:
        self._settings.spool.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile(dir=self._settings.spool))
            rows, cut = _WRITERS[form](answer.batches, file)
            size_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            stack.pop_all()
            return Download(file, size_bytes, rows, cut)


def query_of(wanted: RowSearch, limit: int) -> str:
    """The query of a search, newest rows first: every value in it is a literal."""
    order = "created_at DESC, id DESC"
    return f"SELECT * FROM ({_parts(wanted)}) ORDER BY {order} LIMIT {limit}"  # noqa: S608  # literals alone


def count_of(wanted: RowSearch) -> str:
    """The query of the number of rows of a search."""
    return f"SELECT count(*) AS rows FROM ({_parts(wanted)})"  # noqa: S608  # literals alone


def _parts(wanted: RowSearch) -> str:
    return " UNION ALL BY NAME ".join(_selected(wanted, table) for table in wanted.tables)


def _number(answer: Answer) -> int:
    """The one value of an answer."""
    return int(answer.batches.read_all().column(0)[0].as_py())


def _selected(wanted: RowSearch, table: TieredTable) -> str:
    key, time_column = identifier(table.key_column), identifier(table.time_column)
    columns = ", ".join(
        f"CAST({identifier(name)} AS VARCHAR) AS {identifier(name)}" if name in _AS_TEXT else identifier(name)
        for name in columns_of(table)
    )
    column = key if wanted.by is By.ID else identifier(wanted.by)
    tests = [f"{column} = {literal(wanted.value.lower() if wanted.by is By.ID else wanted.value)}"]
    if wanted.client_id is not None:
        tests.append(f"client_id = {literal(wanted.client_id)}")
    for comparison, bound in ((">=", wanted.lower), ("<", wanted.upper)):
        if bound is not None:
            tests.append(f"{time_column} {comparison} TIMESTAMPTZ {literal(bound.astimezone(UTC).isoformat())}")
    return (
        f'SELECT {literal(table.name)} AS "table", tier, month, {columns} '  # noqa: S608  # literals alone
        f"FROM {identifier(table.name)} WHERE {' AND '.join(tests)}"
    )


def _limited(batches: pa.RecordBatchReader) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """The batches without the rows behind `MOST_ROWS`, and whether there are such; masked."""
    left = MOST_ROWS
    for batch in batches:
        yield _masked(batch.slice(0, left)), batch.num_rows > left
        left -= min(left, batch.num_rows)


def _masked(batch: pa.RecordBatch) -> pa.RecordBatch:
    for name in MASKED:
        place = batch.schema.get_field_index(name)
        if place >= 0:
            values = [shown(name, value) for value in batch.column(place).to_pylist()]
            batch = batch.set_column(place, pa.field(name, pa.string()), pa.array(values, pa.string()))
    return batch


def _write_csv(batches: pa.RecordBatchReader, file: IO[bytes]) -> tuple[int, bool]:
    """A line for each row. A file that was cut ends in a line that says so: it is not to be taken for all rows."""
    # With a byte order mark: Excel takes a file without one for the code page of its machine.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(batches.schema.names)
    rows, cut = 0, False
    for batch, is_cut in _limited(batches):
        for row in _values(batch):
            writer.writerow(map(_cell, row))
        rows, cut = rows + batch.num_rows, cut or is_cut
    if cut:
        writer.writerow([_cut_text(rows)])
    text.detach()
    return rows, cut


def _values(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    rows = within_reach(pa.Table.from_batches([batch]))
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)


def _cell(value: Any) -> str:
    """The text of a value that no spreadsheet takes for a formula; a number starts none."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return safe_text(str(value))


def _write_parquet(batches: pa.RecordBatchReader, file: IO[bytes]) -> tuple[int, bool]:
    """The rows in the types of the ledger. A file that was cut says so in its metadata, under `CUT`."""
    schema = _masked(pa.RecordBatch.from_pylist([], batches.schema)).schema
    rows, cut = 0, False
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch, is_cut in _limited(batches):
            writer.write_batch(batch)
            rows, cut = rows + batch.num_rows, cut or is_cut
        if cut:
            writer.add_key_value_metadata({CUT: _cut_text(rows).encode()})
    return rows, cut


def _cut_text(rows: int) -> str:
    return f"CUT: these are the newest {rows} rows, and there are more. Choose fewer days for the others."


def _refusal(took_s: float) -> HttpError:
    if took_s >= TIMEOUT_S:
        return HttpError(UNAVAILABLE, f"The rows were not all read within {TIMEOUT_S:.0f} s. Choose fewer days.")
    said = "The rows cannot all be read at the moment, so there is no answer. `treasury sql` says more."
    return HttpError(UNAVAILABLE, said)


_WRITERS: dict[DownloadFormat, Callable[[pa.RecordBatchReader, IO[bytes]], tuple[int, bool]]] = {
    DownloadFormat.CSV: _write_csv,
    DownloadFormat.PARQUET: _write_parquet,
}
