"""Work that is larger than its memory goes on in the spool, each engine in a folder of its own."""

import threading
from pathlib import Path

import duckdb
import pytest

from config import Settings
from storage.engine import engine

SORTED = 2_000_000
SORT = f"""
    SELECT k, leaf
    FROM (SELECT (i * 7919) % 10000019 AS k, sha256(i::VARCHAR) AS leaf FROM range({SORTED}) AS t(i))
    ORDER BY k
"""


@pytest.mark.heavy("one engine spills in another test")
def test_two_engines_that_spill_at_the_same_time_do_not_meet(settings: Settings) -> None:
    """They did when they shared one folder: the process ended in a segmentation fault."""
    small = settings.model_copy(update={"archive_memory_mb": 96, "archive_threads": 1})
    sorted_rows: list[int] = []
    spilled: set[Path] = set()

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
