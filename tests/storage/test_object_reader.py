"""Archived files by pieces: what the reader gives is what was archived, whoever has written into store or cache."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Condition

import pytest

from config import Settings, load_settings
from ledger.errors import ConfigError, DataError, TransientError
from ledger.months import Month
from storage.lookups import make_lookup
from storage.object_ranges import Range
from storage.object_reader import ArchivedFile, ObjectReader
from storage.parquet import write_parquet
from storage.pieces import column_ranges
from storage.store import ObjectStore
from tests.storage.archived_rows import COLUMNS, TABLE, batch_of, make_month

KEY = "transactions/month=2026-02/one.parquet"
ROWS = make_month(random.Random(3), Month(2026, 2), 600)  # noqa: S311  # a seed, not a secret


class Archived:
    """A file in the store, its bytes, and what the catalogue has of it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        path = folder / "one.parquet"
        write_parquet([batch_of(ROWS, COLUMNS)], COLUMNS, TABLE, path, group_rows=200)
        self.settings, self.content = settings, path.read_bytes()
        ObjectStore(settings).put(path, KEY)
        lookup, sha256 = make_lookup(path, [], 0), hashlib.sha256(self.content).hexdigest()
        self.file = ArchivedFile("transactions 2026-02", KEY, sha256, lookup.pieces, lookup.footer)
        self.cached = settings.object_cache_folder / sha256

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Bytes that a process which has read nothing yet gets."""
        reader = ObjectReader(self.settings)
        try:
            return reader.read(self.file, start, len(self.content) if end is None else end)
        finally:
            reader.close()


@pytest.fixture
def archived(settings: Settings, tmp_path: Path) -> Archived:
    return Archived(settings.model_copy(update={"object_cache": tmp_path / "cache"}), tmp_path)


@pytest.mark.parametrize("cached", [0, 64])
def test_any_range_is_what_was_archived(archived: Archived, cached: int) -> None:
    reader = ObjectReader(archived.settings.model_copy(update={"object_cache_mb": cached}))
    chance, size = random.Random(5), len(archived.content)  # noqa: S311
    for _ in range(60):
        start, end = sorted((chance.randrange(size + 1), chance.randrange(size + 1)))
        assert reader.read(archived.file, start, end) == archived.content[start:end]
    assert reader.read(archived.file, size, size + 10) == b""
    reader.close()


def test_the_store_is_read_once_and_the_footer_never(archived: Archived) -> None:
    reader = ObjectReader(archived.settings)
    size, footer = len(archived.content), len(archived.file.footer)
    assert reader.read(archived.file, size - footer, size) == archived.file.footer
    assert reader.fetched_bytes == 0
    assert reader.read(archived.file, 0, size) == archived.content
    assert reader.fetched_bytes == size - footer
    reader.forget()
    assert reader.read(archived.file, 0, size) == archived.content
    assert reader.fetched_bytes == size - footer
    reader.close()


def test_what_was_read_ahead_is_not_fetched_again(archived: Archived) -> None:
    reader, ranges = ObjectReader(archived.settings), list(column_ranges(archived.file.metadata))[3:20:5]
    reader.read_ahead([(archived.file, ranges)])
    before = reader.fetched_bytes
    assert 0 < before < len(archived.content)
    assert [reader.read(archived.file, *one) for one in ranges] == [archived.content[a:b] for a, b in ranges]
    assert reader.fetched_bytes == before
    reader.close()


def _flipped(content: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in content)


@pytest.mark.parametrize("damage", [_flipped, lambda one: one[:1000], lambda _: b"", lambda one: one + b"more"])
def test_a_damaged_cache_is_read_again_from_the_store(archived: Archived, damage: Callable[[bytes], bytes]) -> None:
    assert archived.read() == archived.content
    archived.cached.write_bytes(damage(archived.cached.read_bytes()))
    assert archived.read() == archived.content
    assert archived.read(10, 50_000) == archived.content[10:50_000]


@pytest.mark.parametrize("damage", [_flipped, lambda one: one[:1000], lambda _: b"short"])
def test_other_bytes_in_the_store_are_an_error_by_name(archived: Archived, damage: Callable[[bytes], bytes]) -> None:
    store = ObjectStore(archived.settings)
    store.replace_bytes(damage(archived.content), KEY)
    with pytest.raises((DataError, TransientError), match=KEY):
        archived.read(2_000, 20_000)


def test_a_missing_object_is_an_error_by_name(archived: Archived) -> None:
    ObjectStore(archived.settings).remove(KEY)
    with pytest.raises(DataError, match=f"{KEY}: it is not there"):
        archived.read()


def test_a_store_that_does_not_answer_is_an_error_that_may_pass(archived: Archived) -> None:
    away = archived.settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})
    reader = ObjectReader(away)
    with pytest.raises(TransientError, match="object store: cannot read"):
        reader.read(archived.file, 0, 10)
    reader.close()


def test_an_archive_in_a_folder_is_read_and_checked_without_a_cache(settings: Settings, tmp_path: Path) -> None:
    folder = settings.model_copy(
        update={"archive_url": f"file://{tmp_path}/archive", "object_cache": tmp_path / "cache"}
    )
    found = Archived(folder, tmp_path)
    assert found.read() == found.content
    assert not found.cached.exists()
    (tmp_path / "archive" / KEY).write_bytes(_flipped(found.content))
    with pytest.raises(DataError, match="Somebody has put another file there"):
        found.read()


def test_many_threads_get_the_same_bytes(archived: Archived) -> None:
    reader = ObjectReader(archived.settings)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda number: reader.read(archived.file, number * 100, 40_000), range(40))
        assert all(one == archived.content[number * 100 : 40_000] for number, one in enumerate(found))
    reader.close()


class _SlowStore:
    """Answers once as many requests are under way as it waits for, or after a while."""

    def __init__(self, content: bytes, awaited: int) -> None:
        self._content, self._awaited = content, awaited
        self._changed = Condition()
        self._under_way = self.most = 0

    def read(self, _: str, ranges: Sequence[Range]) -> list[bytes]:
        with self._changed:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._awaited, timeout=2)
            self._changed.wait(0.02)  # time for one request too many
            self._under_way -= 1
        return [self._content[start:end] for start, end in ranges]

    def close(self) -> None: ...


def test_requests_to_the_store_run_side_by_side_and_never_more_than_16(
    archived: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _SlowStore(archived.content, awaited=16)
    files = [replace(archived.file, sha256=f"{number:064x}") for number in range(48)]
    with closing(ObjectReader(archived.settings)) as reader, ThreadPoolExecutor(3) as questions:
        monkeypatch.setattr(reader, "_ranges", slow)
        parts = [[(file, [(0, 1_000)]) for file in files[start::3]] for start in range(3)]
        list(questions.map(reader.read_ahead, parts))
    assert slow.most == 16


_FILL = """
import sys
from pathlib import Path
from storage.object_cache import ObjectCache
cache, content = ObjectCache(Path(sys.argv[1]), 1 << 30), Path(sys.argv[2]).read_bytes()
print("filling", flush=True)
while True:
    for start in range(0, len(content), 5_000):
        cache.write(sys.argv[3], [(start, content[start : start + 5_000])])
"""


def test_processes_that_fill_it_and_are_killed_leave_nothing_wrong(archived: Archived, tmp_path: Path) -> None:
    arguments = (str(archived.cached.parent), str(tmp_path / "one.parquet"), archived.file.sha256)
    command = [sys.executable, "-c", _FILL, *arguments]
    fillers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]  # our own
    for filler in fillers:
        assert filler.stdout is not None
        filler.stdout.readline()
    assert archived.read() == archived.content
    for filler in fillers:
        os.kill(filler.pid, signal.SIGKILL)
        filler.communicate()
    assert archived.read() == archived.content


def test_without_an_archive_a_reader_can_be_made_and_says_what_is_missing_when_it_reads(tmp_path: Path) -> None:
    """An API may be started before there is an archive: it stores and reads what is hot."""
    with closing(ObjectReader(load_settings(home=tmp_path))) as reader, pytest.raises(ConfigError, match="ARCHIVE_URL"):
        reader._ranges.read("transactions/month=2026-02/x.parquet", [(0, 1)])
