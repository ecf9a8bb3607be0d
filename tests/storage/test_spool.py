"""A folder in the spool belongs to one piece of work, and is gone when the work is, however that ended."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.errors import DataError
from storage.spool import spool_folder

HOLD = """
import sys
from pathlib import Path
from storage.spool import spool_folder
with spool_folder(Path(sys.argv[1]), "held") as folder:
    (folder / "half.parquet").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def _folders(spool: Path) -> list[Path]:
    return [path for path in spool.iterdir() if path.is_dir()]


def test_a_folder_is_empty_and_ones_own_and_removed_on_the_way_out(tmp_path: Path) -> None:
    spool = tmp_path / "home" / "spool"
    with spool_folder(spool, "month") as one, spool_folder(spool, "month") as other:
        assert one != other
        assert list(one.iterdir()) == []
        (one / "file").write_bytes(b"x")
    assert _folders(spool) == []


def _fail_in(spool: Path) -> None:
    with spool_folder(spool, "month") as folder:
        (folder / "file").write_bytes(b"x")
        raise DataError("half way")


def test_it_is_removed_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="half way"):
        _fail_in(tmp_path)
    assert _folders(tmp_path) == []


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as held:
        assert held.stdout is not None
        folder = Path(held.stdout.readline().decode().strip())
        with spool_folder(tmp_path, "other"):
            assert (folder / "half.parquet").exists()
        os.kill(held.pid, signal.SIGKILL)
        held.wait()
    assert folder.exists()
    with spool_folder(tmp_path, "next") as mine:
        assert _folders(tmp_path) == [mine]


def test_many_at_once_never_take_each_others_folder(tmp_path: Path) -> None:
    def work(number: int) -> str:
        with spool_folder(tmp_path, "month") as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(64))) == [str(number) for number in range(64)]
    assert _folders(tmp_path) == []
