"""The spool: nothing of a killed process stays in it, and nobody's files are taken away under their hands."""

import threading
from pathlib import Path

import duckdb
import pytest

from config import Settings
from storage.engine import engine
from storage.spool import spool_folder
from tests.archive.ledger import Ledger

HOLDING = """
import sys
from config import load_settings
from storage.spool import spool_folder

with spool_folder(load_settings().spool, "work") as folder:
    (folder / "half").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""
SORTED = 2_000_000
SORT = f"""
    SELECT k, leaf
    FROM (SELECT (i * 7919) % 10000019 AS k, sha256(i::VARCHAR) AS leaf FROM range({SORTED}) AS t(i))
    ORDER BY k
"""


def test_a_folder_goes_with_its_work(tmp_path: Path) -> None:
    with spool_folder(tmp_path, "work") as one, spool_folder(tmp_path, "work") as other:
        assert one != other
        assert one.is_dir()
        assert other.is_dir()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_removed_and_not_before(ledger: Ledger) -> None:
    with ledger.start(HOLDING) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with spool_folder(ledger.settings.spool, "work"):
            assert (left / "half").is_file()
        process.kill()
    assert (left / "half").is_file()
    with spool_folder(ledger.settings.spool, "work"):
        assert not left.exists()


def test_two_engines_that_spill_at_the_same_time_do_not_meet(settings: Settings) -> None:
    """They did when they shared one folder: the process ended in a segmentation fault."""
    small = settings.model_copy(update={"archive_memory_mb": 96, "archive_threads": 1})
    sorted_rows, spilled = [], set()

    def sort() -> None:
        with engine(small, share=2) as duck:
            ordered, last = 0, -1
            for batch in duck.execute(SORT).to_arrow_reader(65_536):
                keys = batch.column(0).to_pylist()
                assert keys == sorted(keys)
                assert keys[0] >= last
                ordered, last = ordered + len(keys), keys[-1]
                spilled.update(small.spool.glob("duckdb-*/*"))
            sorted_rows.append(ordered)

    threads = [threading.Thread(target=sort) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted_rows == [SORTED] * 2
    assert len({path.parent for path in spilled}) == 2, "neither spilled: the test shows nothing"
    assert list(small.spool.glob("duckdb-*")) == []


def test_an_engine_that_is_out_of_room_says_so(settings: Settings) -> None:
    small = settings.model_copy(update={"archive_memory_mb": 96, "archive_threads": 1})
    with engine(small, share=2) as duck:
        duck.execute("SET max_temp_directory_size = '1MB'")
        with pytest.raises(duckdb.OutOfMemoryException):
            duck.execute(SORT).fetchall()
