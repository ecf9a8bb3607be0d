"""The object store is away, full, or gives back other bytes: the month stays warm and whole, and a later run moves it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, VerificationError
from servers.stack import running
from sql.catalog import columns_of
from sql.connection import connect
from storage.engine import engine
from tasks.archive import Step, archive_month
from tasks.export import export_partition
from tasks.outcome import Result
from tasks.plan import plan_table
from tasks.verify import verify_month
from tests.archive.ledger import COLD, TODAY, Ledger

NEIGHBOUR = COLD.plus(1)
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
FULL = """
import resource, sys
from config import load_settings
from tasks.archive import Step, archive_month
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


def append(file: Path, _: Path) -> None:
    with file.open("ab") as end:
        end.write(b"\0")


def put_another_month_in_its_place(file: Path, other: Path) -> None:
    shutil.copyfile(other, file)


def _flip_bit(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flip_data_byte, flip_footer_byte, cut_short, empty, append, put_another_month_in_its_place]
)
def test_an_object_that_is_not_what_was_written_moves_nothing(ledger: Ledger, damage: Damage) -> None:
    ledger.warm(COLD, NEIGHBOUR)
    before = ledger.content()
    archive_month(ledger.settings, ledger.table, NEIGHBOUR)

    def harm(step: Step) -> None:
        if step is Step.UPLOADED:
            damage(only_file(ledger.store, COLD), only_file(ledger.store, NEIGHBOUR))

    with pytest.raises(VerificationError, match="read back"):
        archive_month(ledger.settings, ledger.table, COLD, harm)
    assert ledger.tier(COLD) == "warm"
    assert ledger.content() == before

    assert [outcome.result for outcome in ledger.night()] == [Result.MOVED]
    assert ledger.tier(COLD) == "cold"
    assert ledger.content() == before
    ledger.check_archive()


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


def test_a_month_whose_folder_cannot_be_made_fails_and_keeps_its_reason(ledger: Ledger) -> None:
    """A file stands where the month's folder would be: the store refuses the write."""
    ledger.warm(COLD, NEIGHBOUR)
    before = ledger.content()
    in_the_way = ledger.store / "transactions" / f"month={COLD}"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("in the way")

    failed, moved = ledger.night()
    assert (failed.month, failed.result, failed.transient) == (COLD, Result.FAILED, True)
    assert (moved.month, moved.result) == (NEIGHBOUR, Result.MOVED)
    assert ledger.catalogue(COLD)["last_error"] == failed.reason
    assert ledger.content() == before

    in_the_way.unlink()
    assert [outcome.result for outcome in ledger.night()] == [Result.MOVED]
    assert ledger.catalogue(COLD)["last_error"] is None
    assert ledger.content() == before
    ledger.check_archive()


def test_a_store_that_does_not_answer_is_a_transient_failure_with_its_reason_kept(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    away = Ledger(ledger.settings.model_copy(update={"s3_endpoint_url": NOBODY}), ledger.store)
    (outcome,) = away.night()
    assert (outcome.result, outcome.transient) == (Result.FAILED, True)
    assert "object store: cannot write" in outcome.reason
    assert ledger.tier(COLD) == "warm"
    assert ledger.catalogue(COLD)["last_error"] == outcome.reason
    assert ledger.content() == before
    assert [outcome.result for outcome in ledger.night()] == [Result.MOVED]
    assert ledger.content() == before
    ledger.check_archive()


def test_a_store_that_refuses_the_credentials_is_a_setting_to_mend(ledger: Ledger) -> None:
    ledger.warm(COLD)
    wrong = ledger.settings.model_copy(update={"s3_access_key_id": "A" * 20})
    with pytest.raises(ConfigError, match="object store"):
        archive_month(wrong, ledger.table, COLD)
    assert ledger.tier(COLD) == "warm"


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
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this account may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "treasury-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs an account that may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_s3_server_moves_nothing(ledger: Ledger, tmp_path: Path, tiny_disk: Path) -> None:
    ledger.warm(COLD, rows=300)
    before = ledger.content()
    home = tmp_path / "own"
    (home / "s3").mkdir(parents=True)
    (home / "s3" / "treasury-archive").symlink_to(tiny_disk)
    (tiny_disk / "filler").write_bytes(b"x" * (56 << 10))
    with running(ledger.settings.model_copy(update={"archive_url": None, "home": home}), "s3") as settings:
        with pytest.raises(TransientError, match="object store: cannot write"):
            archive_month(settings, ledger.table, COLD)
        assert ledger.tier(COLD) == "warm"
        assert ledger.content() == before
        (tiny_disk / "filler").unlink()
        archive_month(settings, ledger.table, COLD)
        assert Ledger(settings, tiny_disk).content() == before
        Ledger(settings, tiny_disk).check_archive()


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


def _one_cent_more(rows: pa.Table) -> pa.Table:
    amounts = rows["amount"].to_pylist()
    amounts[3] += type(amounts[3])("0.01")
    return rows.set_column(rows.schema.get_field_index("amount"), rows.schema.field("amount"), [amounts])


def _two_texts_swapped(rows: pa.Table) -> pa.Table:
    users = rows["user_id"].to_pylist()
    other = next(number for number, user in enumerate(users) if user != users[0])
    users[0], users[other] = users[other], users[0]
    return rows.set_column(rows.schema.get_field_index("user_id"), rows.schema.field("user_id"), [users])


def _null_for_empty(rows: pa.Table) -> pa.Table:
    field = rows.schema.field("description")
    texts = [None if text == "" else text for text in rows["description"].to_pylist()]
    assert None in texts
    return rows.set_column(rows.schema.get_field_index("description"), field, [texts])


ALTERATIONS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "a row is missing": lambda rows: rows.slice(1),
    "a row is there twice": lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
    "a cent more": _one_cent_more,
    "two texts swapped": _two_texts_swapped,
    "NULL for an empty text": _null_for_empty,
    "a minute later": lambda rows: rows.set_column(
        rows.schema.get_field_index("updated_at"),
        rows.schema.field("updated_at"),
        pc.add(rows["updated_at"], pa.scalar(60_000_000, pa.duration("us"))),
    ),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_valid_file_with_other_rows_is_found_by_its_content(ledger: Ledger, tmp_path: Path, name: str) -> None:
    """What the bytes' checksum would not show if the writer itself were wrong."""
    ledger.warm(COLD)
    partition = ledger.table.partition(COLD)
    file = tmp_path / "month.parquet"
    with connect(ledger.settings.database_dsn, "tests") as connection, engine(ledger.settings) as duck:
        columns = columns_of(connection, partition)
        export_partition(duck, ledger.settings, ledger.table, columns, partition, file)
        assert verify_month(connection, ledger.settings, ledger.table, columns, partition, file).rows > 0
        pq.write_table(ALTERATIONS[name](pq.read_table(file)), file)
        with pytest.raises(VerificationError, match="digest"):
            verify_month(connection, ledger.settings, ledger.table, columns, partition, file)


def test_nothing_is_asked_of_the_store_for_what_is_only_planned(ledger: Ledger, settings: Settings) -> None:
    ledger.warm(COLD)
    away = settings.model_copy(update={"s3_endpoint_url": NOBODY})
    assert [move.month for move in plan_table(away, ledger.table, TODAY, TODAY)] == [COLD]
