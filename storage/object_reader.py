"""Bytes of archived files for readers: from memory, from this machine's cache or from the store, and always checked.

Every byte belongs to a piece whose SHA-256 the catalogue has (`storage.lookups`). Bytes of the cache that are not those
are read again from the store; bytes of the store that are not those are an error. So a reader gets what was archived,
or an error by name.
"""

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from config import Settings
from ledger.errors import DataError
from storage.object_cache import ObjectCache
from storage.object_ranges import ObjectRanges, Range
from storage.pieces import END_BYTES, PIECE_BYTES

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

MEMORY_BYTES = 32 << 20  # of checked pieces, in each process
AHEAD_BYTES = 24 << 20  # read for one question before the engine asks: less than the memory, or it would be for nothing
_REQUESTS_AT_ONCE = 16
_GAP_BYTES = 8 << 10  # bytes that nobody asked for, read to save a request


@dataclass(frozen=True)
class ArchivedFile:
    """An archived file: ``name`` is its table and month, ``pieces`` and ``footer`` are its lookup's."""

    name: str
    key: str
    sha256: str
    pieces: bytes
    footer: bytes

    @cached_property
    def ends(self) -> list[int]:
        """Where its pieces end."""
        starts = range(0, len(self.pieces), PIECE_BYTES)
        return [int.from_bytes(self.pieces[at : at + END_BYTES], "big") for at in starts]

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.ends[-1]

    @cached_property
    def metadata(self) -> "FileMetaData":
        """What the footer says."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415  # 20 ms, which a question over PostgreSQL alone need not wait for

        return pq.read_metadata(pa.BufferReader(self.footer))

    @cached_property
    def row_groups(self) -> int:
        """How many row groups it has."""
        return int(self.metadata.num_row_groups)

    def start(self, number: int) -> int:
        """Where a piece begins."""
        return self.ends[number - 1] if number else 0

    def is_piece(self, number: int, content: bytes) -> bool:
        """Whether ``content`` is the piece."""
        at = number * PIECE_BYTES
        return hashlib.sha256(content).digest() == self.pieces[at + END_BYTES : at + PIECE_BYTES]

    def numbers(self, start: int, end: int) -> range:
        """The pieces that bytes from ``start`` to ``end`` are in."""
        return range(bisect_right(self.ends, start), bisect_right(self.ends, end - 1) + 1) if end > start else range(0)


class ObjectReader:
    """Reads archived files. Thread-safe; one for the life of a process. ``fetched_bytes`` is what the store gave."""

    def __init__(self, settings: Settings) -> None:
        self._ranges = ObjectRanges(settings)
        limit_bytes = 0 if self._ranges.is_folder else settings.object_cache_mb << 20  # a folder is as near as a cache
        self._cache = ObjectCache(settings.object_cache_folder, limit_bytes)
        self._threads = ThreadPoolExecutor(_REQUESTS_AT_ONCE, "object reader")
        self._memory = _Memory(MEMORY_BYTES)
        self.fetched_bytes = 0

    def close(self) -> None:
        """End its threads and its connections. Safe to call twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._ranges.close()

    def forget(self) -> None:
        """Drop the pieces that are in memory."""
        self._memory = _Memory(MEMORY_BYTES)

    def read(self, file: ArchivedFile, start: int, end: int) -> bytes:
        """The bytes of a file from ``start`` to ``end``. Raises DataError where the store has others, or its errors."""
        numbers = file.numbers(start, min(end, file.size_bytes))
        pieces = self._kept(file, numbers)
        if missing := [number for number in numbers if number not in pieces]:
            pieces |= self._fetch(file, missing)
        whole = b"".join(pieces[number] for number in numbers)
        first = file.start(numbers[0]) if numbers else start
        return whole[start - first : end - first]

    def read_ahead(self, wanted: Sequence[tuple[ArchivedFile, Sequence[Range]]]) -> None:
        """Fetch ranges of files side by side before they are asked for, as far as memory goes. Raises as `read`."""
        jobs, left = [], AHEAD_BYTES
        for file, ranges in wanted:
            numbers = sorted({number for start, end in ranges for number in file.numbers(start, end)})
            kept = self._kept(file, numbers)
            missing = [number for number in numbers if number not in kept]
            left -= sum(file.ends[number] - file.start(number) for number in missing)
            if left < 0:
                break
            jobs += [self._threads.submit(self._fetch, file, missing)] if missing else []
        for job in jobs:
            job.result()

    def _kept(self, file: ArchivedFile, numbers: Sequence[int]) -> dict[int, bytes]:
        """Those of the pieces that need no request."""
        pieces: dict[int, bytes] = {}
        elsewhere = []
        for number in numbers:
            piece = self._memory.get((file.sha256, number))
            if piece is None and number == len(file.ends) - 1 and file.is_piece(number, file.footer):
                piece = file.footer
            if piece is None:
                elsewhere.append(number)
            else:
                pieces[number] = piece
        if elsewhere:
            places = [(file.start(number), file.ends[number] - file.start(number)) for number in elsewhere]
            for number, content in zip(elsewhere, self._cache.read(file.sha256, places), strict=True):
                if content and file.is_piece(number, content):
                    self._memory.put((file.sha256, number), content)
                    pieces[number] = content
        return pieces

    def _fetch(self, file: ArchivedFile, numbers: Sequence[int]) -> dict[int, bytes]:
        """Pieces from the store, checked and kept."""
        runs = list(_runs(file, numbers))
        contents = self._ranges.read(file.key, [(file.start(run[0]), file.ends[run[-1]]) for run in runs])
        pieces: dict[int, bytes] = {}
        parts = [(file.start(run[0]), content) for run, content in zip(runs, contents, strict=True)]
        for run, (first, content) in zip(runs, parts, strict=True):
            self.fetched_bytes += len(content)
            for number in run:
                piece = content[file.start(number) - first : file.ends[number] - first]
                if not file.is_piece(number, piece):
                    raise DataError(
                        f"{file.name}: bytes {file.start(number)} to {file.ends[number]} of {file.key} are not those "
                        "that were archived. Somebody has put another file there: put the right one back"
                    )
                pieces[number] = piece
                self._memory.put((file.sha256, number), piece)
        self._cache.write(file.sha256, parts)
        return pieces


def _runs(file: ArchivedFile, numbers: Sequence[int]) -> Iterator[range]:
    """Pieces as runs that one request reads each, together with small ones between them."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if file.start(number) - file.ends[last] > _GAP_BYTES:
            yield range(first, last + 1)
            first = number
        last = number
    yield range(first, last + 1)


class _Memory:
    """Pieces by file and number, at most ``limit_bytes`` of them: those that were used last."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes, self._bytes = limit_bytes, 0
        self._pieces: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, name: tuple[str, int]) -> bytes | None:
        with self._lock:
            piece = self._pieces.get(name)
            if piece is not None:
                self._pieces.move_to_end(name)
            return piece

    def put(self, name: tuple[str, int], piece: bytes) -> None:
        with self._lock:
            if name in self._pieces or len(piece) > self._limit_bytes:
                return
            self._pieces[name] = piece
            self._bytes += len(piece)
            while self._bytes > self._limit_bytes:
                self._bytes -= len(self._pieces.popitem(last=False)[1])


def kept_objects(settings: Settings) -> ObjectCache:
    """This machine's cache of objects."""
    return ObjectCache(settings.object_cache_folder, settings.object_cache_mb << 20)
