"""The object store is away, full, or gives back other bytes: the month stays warm and whole until a later run."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, VerificationError
from servers.lending import running
from servers.s3 import BUCKET
from sql.catalog import columns_of
from sql.connection import connect
from storage.engine import engine
from storage.month_tree import read_file
from tasks.archiving.export import export_partition
from tasks.archiving.outcome import MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.to_cold import Step, archive_month
from tasks.archiving.verify import compare, read_held_rows
from tests.relations import relation
from tests.tasks.archiving.ledger import COLD, TODAY, Ledger

NEIGHBOUR = COLD.plus(1)
LATER = timedelta(milliseconds=1)
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
FULL = """
import resource, sys
from config import load_settings
from tasks.archiving.to_cold import Step, archive_month
from ledger.errors import TransientError
from ledger.months import Month

def fill_up(step):
    if step == Step.EXPORTED:  # from here on no file of this process may grow beyond a kilobyte
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

settings = load_settings()
try:
    archive_month(settings, settings.table("transactions"), Month.parse(sys.argv[1]), fill_up)
except TransientError as error:
    sys.exit(str(error))
"""

Damage = Callable[[Path, Path], None]


def only_file(store: Path, month: object, suffix: str = ".parquet") -> Path:
    """The one object of a month."""
    (found,) = (store / "transactions" / f"month={month}").glob(f"*{suffix}")
    return found


def flip_data_byte(file: Path, _: Path) -> None:
    _flip_bit(file, 200)


def flip_footer_byte(file: Path, _: Path) -> None:
    _flip_bit(file, file.stat().st_size - 100)


def cut_short(file: Path, _: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path, _: Path) -> None:
    os.truncate(file, 0)


def put_another_month_in_its_place(file: Path, other: Path) -> None:
    shutil.copyfile(other, file)


def _flip_bit(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("damage", [flip_data_byte, flip_footer_byte, cut_short, empty, put_another_month_in_its_place])
def test_an_object_that_is_not_what_was_written_moves_nothing(ledger: Ledger, damage: Damage) -> None:
    ledger.warm(COLD, NEIGHBOUR)
    before = ledger.content()
    archive_month(ledger.settings, ledger.table, NEIGHBOUR)

    def harm(step: Step) -> None:
        if step is Step.UPLOADED:
            damage(only_file(ledger.store, COLD), only_file(ledger.store, NEIGHBOUR))

    with pytest.raises((VerificationError, TransientError), match=r"read back|cannot read"):
        archive_month(ledger.settings, ledger.table, COLD, harm)
    assert ledger.tier(COLD) == "warm"
    assert ledger.content() == before

    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.tier(COLD) == "cold"
    assert ledger.content() == before
    ledger.check_archive()


@pytest.mark.heavy("an object that is not what was written moves nothing")
def test_an_object_that_vanished_moves_nothing(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()

    def harm(step: Step) -> None:
        if step is Step.UPLOADED:
            only_file(ledger.store, COLD).unlink()

    with pytest.raises((DataError, TransientError), match="object store: cannot read"):
        archive_month(ledger.settings, ledger.table, COLD, harm)
    assert ledger.tier(COLD) == "warm"
    assert ledger.content() == before
    ledger.night()
    assert ledger.content() == before
    ledger.check_archive()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(params=["away", "silent"])
def unreachable(request: pytest.FixtureRequest, ledger: Ledger, silent: str) -> Ledger:
    """The ledger with a store that cannot be reached."""
    address = NOBODY if request.param == "away" else silent
    changes = {"s3_endpoint_url": address, "store_timeout_s": 0.5}
    return Ledger(ledger.settings.model_copy(update=changes), ledger.store)


@pytest.mark.sampled(1)
def test_a_store_that_does_not_answer_is_a_transient_failure_with_its_reason_kept(
    ledger: Ledger, unreachable: Ledger
) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    started = time.monotonic()
    (outcome,) = unreachable.night()
    assert time.monotonic() - started < 20
    assert (outcome.result, outcome.transient) == (MoveResult.FAILED, True)
    assert "object store: cannot read _treasury/installation.json" in outcome.reason
    assert ledger.tier(COLD) == "warm"
    assert ledger.catalogue(COLD)["last_error"] == outcome.reason
    assert ledger.content() == before
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.catalogue(COLD)["last_error"] is None
    assert ledger.content() == before
    ledger.check_archive()


def test_a_store_that_refuses_the_credentials_is_a_setting_to_mend(ledger: Ledger) -> None:
    ledger.warm(COLD)
    wrong = ledger.settings.model_copy(update={"s3_access_key_id": "A" * 20})
    with pytest.raises(ConfigError, match="object store"):
        archive_month(wrong, ledger.table, COLD)
    assert ledger.tier(COLD) == "warm"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", [Step.EXPORTED, Step.UPLOADED, Step.VERIFIED])
def test_a_store_that_goes_away_at_any_step_moves_nothing(ledger: Ledger, tmp_path: Path, step: Step) -> None:
    """Its own server, which is stopped for good after the step; then another one over the same folder."""
    ledger.warm(COLD)
    before = ledger.content()
    address = {"archive_url": None, "home": tmp_path / "own"}
    server = running(ledger.settings.model_copy(update=address), "s3")
    settings = server.__enter__()
    ended = []

    def end(at: Step) -> None:
        if at is step:
            ended.append(server.__exit__(None, None, None))

    with pytest.raises(TransientError, match="object store"):
        archive_month(settings, ledger.table, COLD, end)
    assert ended
    assert ledger.tier(COLD) == "warm"
    assert ledger.content() == before

    with running(ledger.settings.model_copy(update=address), "s3") as again:
        archive_month(again, ledger.table, COLD)
        other = Ledger(again, tmp_path / "own" / "s3" / again.archive_location.removeprefix("s3://"))
        assert other.content() == before
        other.check_archive()


@pytest.fixture
def tiny_store(tmp_path: Path) -> Iterator[Path]:
    """A bucket's folder on a file system of 64 KiB, where this account may mount one; its home is three levels up."""
    folder = tmp_path / "own" / "s3" / BUCKET
    folder.mkdir(parents=True)
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "treasury-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs an account that may mount a small file system")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


@pytest.mark.heavy("a store that goes away is tested beside it")
def test_a_full_s3_server_moves_nothing(ledger: Ledger, tiny_store: Path) -> None:
    ledger.warm(COLD, rows=300)
    before = ledger.content()
    filler = tiny_store / "filler"
    filler.write_bytes(b"x" * (56 << 10))
    changes = {"archive_url": None, "home": tiny_store.parents[1]}
    with running(ledger.settings.model_copy(update=changes), "s3") as settings:
        with pytest.raises(TransientError, match="object store: cannot write"):
            archive_month(settings, ledger.table, COLD)
        assert ledger.tier(COLD) == "warm"
        assert ledger.content() == before
        filler.unlink()
        archive_month(settings, ledger.table, COLD)
        in_it = Ledger(settings, tiny_store)
        assert in_it.content() == before
        in_it.check_archive()


@pytest.mark.heavy("a full server is tested beside it")
def test_a_full_folder_moves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    folder = tmp_path / "archive"
    in_folder = Ledger(ledger.settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)
    ended = in_folder.run(FULL, str(COLD))
    assert ended.returncode == 1, ended.stderr
    assert "object store: cannot write" in ended.stderr
    assert "File too large" in ended.stderr
    assert ledger.tier(COLD) == "warm"
    archive_month(in_folder.settings, ledger.table, COLD)
    assert in_folder.content() == before
    in_folder.check_archive()


def _with(rows: pa.Table, column: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    """The rows with one column's values changed."""
    position, field = rows.schema.get_field_index(column), rows.schema.field(column)
    before = rows[column].to_pylist()
    after = change(list(before))
    assert after != before
    return rows.set_column(position, field, pa.chunked_array([pa.array(after, field.type)]))


ALTERATIONS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "a row is missing": lambda rows: rows.slice(1),
    "a row is there twice": lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
    "a cent more": lambda rows: _with(rows, "amount", lambda found: [found[0] + Decimal("0.01"), *found[1:]]),
    "texts of other rows": lambda rows: _with(rows, "user_id", lambda found: [*found[1:], found[0]]),
    "NULL for an empty text": lambda rows: _with(rows, "description", lambda found: [text or None for text in found]),
    "a moment later": lambda rows: _with(rows, "updated_at", lambda found: [at + LATER for at in found]),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_valid_file_with_other_rows_is_found_by_its_content(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """What the bytes' checksum would not show if the writer itself were wrong."""
    ledger.warm(COLD)
    file = tmp_path / "month.parquet"
    settings, table = ledger.settings, ledger.table
    with connect(settings.database_dsn, "tests") as connection, engine(settings) as duck:
        partition = relation(connection, table.partition(COLD))
        columns = columns_of(connection, partition)
        export_partition(duck, settings, table, columns, partition, file, {}, 0)
    held = read_held_rows(settings, table, columns, partition, COLD, tmp_path)
    compare(table, partition, held, read_file(settings, table, columns, COLD, file, tmp_path))
    pq.write_table(ALTERATIONS[name](pq.read_table(file)), file)
    with pytest.raises(VerificationError, match=r"not in the archive|not in PostgreSQL|order"):
        compare(table, partition, held, read_file(settings, table, columns, COLD, file, tmp_path))


def test_nothing_is_asked_of_the_store_for_what_is_only_planned(ledger: Ledger, settings: Settings) -> None:
    ledger.warm(COLD)
    away = settings.model_copy(update={"s3_endpoint_url": NOBODY})
    assert [move.month for move in plan_table(away, ledger.table, TODAY, TODAY)] == [COLD]
