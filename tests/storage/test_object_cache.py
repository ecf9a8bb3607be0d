"""The cache of archived objects on this machine: bounded, its owner's alone, and never in the way."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import ConfigError
from storage.object_cache import ObjectCache

LIMIT = 4 << 20
CONTENT = b"x" * 40_000
NAME, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_what_was_written_is_read_where_it_was(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(1_000_000, CONTENT)])
    assert cache.read(NAME, [(1_000_000, len(CONTENT))]) == [CONTENT]
    assert cache.read(NAME, [(0, 10)]) == [bytes(10)]
    assert cache.read(NAME, [(1_000_000, 10), (0, 3), (9_000_000, 1)]) == [CONTENT[:10], bytes(3), b""]
    assert cache.read(OTHER, [(0, 10)]) == [b""]


def test_nobody_else_may_read_it(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    ObjectCache(folder, LIMIT).write(NAME, [(0, CONTENT)])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


def test_it_takes_no_more_of_the_disk_than_it_may(folder: Path) -> None:
    caches = [ObjectCache(folder, LIMIT) for _ in range(2)]
    for number in range(300):
        caches[number % 2].write(f"{number:064x}", [(0, CONTENT)])
        assert _used(folder) <= LIMIT
    assert caches[0].read(f"{299:064x}", [(0, len(CONTENT))]) == [CONTENT]
    assert caches[0].read(f"{0:064x}", [(0, len(CONTENT))]) == [b""]


def test_what_was_used_last_stays(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    for number in range(200):
        cache.write(f"{number:064x}", [(0, CONTENT)])
        assert cache.read(f"{0:064x}", [(0, len(CONTENT))]) == [CONTENT]
        time.sleep(0.001)  # the file system's clock has ticks


def test_without_a_limit_nothing_is_kept(folder: Path) -> None:
    cache = ObjectCache(folder, 0)
    cache.write(NAME, [(0, CONTENT)])
    assert cache.read(NAME, [(0, 10)]) == [b""]
    assert not folder.exists()


def test_a_piece_larger_than_its_share_is_not_kept(folder: Path) -> None:
    ObjectCache(folder, LIMIT).write(NAME, [(0, bytes(LIMIT))])
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ObjectCache(tmp_path / "file" / "cache", LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    assert cache.read(NAME, [(0, 10)]) == [b""]


def test_a_full_disk_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    cache = ObjectCache(folder, LIMIT)
    monkeypatch.setattr(os, "pwrite", full)
    cache.write(NAME, [(0, CONTENT)])
    assert cache.read(NAME, [(0, len(CONTENT))]) in ([b""], [bytes(len(CONTENT))])


def test_a_link_that_somebody_put_there_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "other").write_bytes(b"theirs")
    (folder / NAME).symlink_to(tmp_path / "other")
    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    assert (tmp_path / "other").read_bytes() == b"theirs"
    assert cache.read(NAME, [(0, 6)]) == [b""]


def test_a_file_is_forgotten_once_and_again(folder: Path) -> None:
    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    cache.forget(NAME)
    cache.forget(NAME)
    assert list(folder.iterdir()) == []


def _put_folder(path: Path) -> None:
    (path / "deeper").mkdir(parents=True)


def _put_pipe(path: Path) -> None:
    os.mkfifo(path)


def _put_second_name(path: Path) -> None:
    (path.parent.parent / "other").write_bytes(b"theirs")
    os.link(path.parent.parent / "other", path)


@pytest.mark.parametrize("put", [_put_folder, _put_pipe, _put_second_name])
def test_what_is_no_file_of_the_cache_is_neither_read_nor_written_and_is_forgotten(
    folder: Path, put: Callable[[Path], None]
) -> None:
    folder.mkdir()
    put(folder / NAME)
    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    assert cache.read(NAME, [(0, 6)]) == [b""]
    cache.forget(NAME)
    assert not (folder / NAME).exists()
    assert not (folder.parent / "other").exists() or (folder.parent / "other").read_bytes() == b"theirs"


def test_files_of_others_in_the_folder_stay_and_others_keep_their_access(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "theirs").write_bytes(bytes(LIMIT))
    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert cache.read(NAME, [(0, 6)]) == [b""]
    folder.chmod(0o700)
    for number in range(300):
        cache.write(f"{number:064x}", [(0, CONTENT)])
    assert (folder / "theirs").stat().st_size == LIMIT
    assert cache.read(f"{299:064x}", [(0, len(CONTENT))]) == [CONTENT]


def test_a_file_that_cannot_be_forgotten_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    cache = ObjectCache(folder, LIMIT)
    cache.write(NAME, [(0, CONTENT)])
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(ConfigError, match=f"{NAME}: the cache of archived objects cannot forget it: Permission denied"):
        cache.forget(NAME)


def test_a_cache_that_is_not_there_has_forgotten_everything(tmp_path: Path) -> None:
    ObjectCache(tmp_path / "nowhere", LIMIT).forget(NAME)
    (tmp_path / "file").write_bytes(b"")
    ObjectCache(tmp_path / "file", LIMIT).forget(NAME)
