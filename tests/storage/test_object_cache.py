"""The cache of archived objects on this machine: bounded, its owner's alone, and never in the way."""

import os
import stat
import time
from pathlib import Path

import pytest

from storage.object_cache import ObjectCache

LIMIT = 4 << 20
CONTENT = b"x" * 40_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_what_was_written_is_read_where_it_was(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    cache.write("a", 1_000_000, CONTENT)
    assert cache.read("a", 1_000_000, len(CONTENT)) == CONTENT
    assert cache.read("a", 0, 10) == bytes(10)
    assert cache.read("b", 0, 10) == b""


def test_nobody_else_may_read_it(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    ObjectCache(folder, LIMIT).write("a", 0, CONTENT)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600


def test_it_takes_no_more_of_the_disk_than_it_may(folder: Path) -> None:
    caches = [ObjectCache(folder, LIMIT) for _ in range(2)]
    for number in range(300):
        caches[number % 2].write(str(number), 0, CONTENT)
        assert _used(folder) <= LIMIT
    assert caches[0].read("299", 0, len(CONTENT)) == CONTENT
    assert caches[0].read("0", 0, len(CONTENT)) == b""


def test_what_was_used_last_stays(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    for number in range(200):
        cache.write(str(number), 0, CONTENT)
        assert cache.read("0", 0, len(CONTENT)) == CONTENT
        time.sleep(0.001)  # the file system's clock has ticks


def test_without_a_limit_nothing_is_kept(folder: Path) -> None:
    cache = ObjectCache(folder, 0)
    cache.write("a", 0, CONTENT)
    assert cache.read("a", 0, 10) == b""
    assert not folder.exists()


def test_a_piece_larger_than_its_share_is_not_kept(folder: Path) -> None:
    ObjectCache(folder, LIMIT).write("a", 0, bytes(LIMIT))
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ObjectCache(tmp_path / "file" / "cache", LIMIT)
    cache.write("a", 0, CONTENT)
    assert cache.read("a", 0, 10) == b""


def test_a_full_disk_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    cache = ObjectCache(folder, LIMIT)
    monkeypatch.setattr(os, "pwrite", full)
    cache.write("a", 0, CONTENT)
    assert cache.read("a", 0, len(CONTENT)) in (b"", bytes(len(CONTENT)))


def test_a_link_that_somebody_put_there_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "other").write_bytes(b"theirs")
    (folder / "a").symlink_to(tmp_path / "other")
    cache = ObjectCache(folder, LIMIT)
    cache.write("a", 0, CONTENT)
    assert (tmp_path / "other").read_bytes() == b"theirs"
    assert cache.read("a", 0, 6) == b""


def test_a_file_is_forgotten_once_and_again(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    cache.write("a", 0, CONTENT)
    cache.forget("a")
    cache.forget("a")
    assert list(folder.iterdir()) == []
