"""An archived object that is not the one that was proved is refused by name: its rows would be missing silently."""

from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import DataError
from tasks.archiving.late_rows import open_late_rows
from tests.archives import Archives
from tests.tasks.archiving.ledger import COLD, HOT, TODAY, Ledger, make_row

OTHER = COLD.plus(1)


@pytest.fixture
def archived(settings: Settings, tmp_path: Path, archives: Archives) -> Ledger:
    """Two archived months and a hot one; the archive is a folder, because the S3 server of the tests keeps sizes."""
    folder = tmp_path / "archive"
    ledger = Ledger(settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)
    archives.begin(ledger.settings, _two_cold_months_and_a_hot_one)
    return ledger


def _two_cold_months_and_a_hot_one(settings: Settings) -> None:
    ledger = Ledger(settings, settings.home)
    ledger.fill(COLD, rows=10)
    ledger.fill(OTHER, rows=20)
    ledger.fill(HOT)
    ledger.night(TODAY)


def _put(ledger: Ledger, content: bytes) -> None:
    """Put another file under the key of `COLD`."""
    (ledger.store / ledger.catalogue(COLD)["object_key"]).write_bytes(content)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "question",
    [
        f"SELECT count(*) FROM transactions WHERE month = '{COLD}'",
        f"SELECT count(reference) FROM transactions WHERE month = '{COLD}'",
        "SELECT sum(amount) FROM transactions",
        "SELECT count(*) FROM transactions_archive_cold",
        "SELECT max(id) FROM transactions_archive_cold",
        f"SELECT * FROM transactions WHERE created_at >= '{COLD}-01' AND created_at < '{OTHER}-01'",
    ],
)
def test_the_object_of_another_month_in_its_place_is_refused(archived: Ledger, question: str) -> None:
    _put(archived, (archived.store / archived.catalogue(OTHER)["object_key"]).read_bytes())
    with pytest.raises(DataError, match=rf"SQL: transactions {COLD}: bytes \d+ to \d+ of .* are not those"):
        archived.ask(question)


def test_the_object_of_a_month_without_a_lookup_is_held_against_the_catalogue(archived: Ledger) -> None:
    archived.sql("UPDATE archive_months SET lookup = NULL")
    _put(archived, (archived.store / archived.catalogue(OTHER)["object_key"]).read_bytes())
    with pytest.raises(DataError, match=f"SQL: transactions {COLD}: .* has 20 rows in .* 10 rows in .* were proved"):
        archived.ask(f"SELECT count(*) FROM transactions WHERE month = '{COLD}'")


def test_what_needs_another_month_is_answered(archived: Ledger) -> None:
    _put(archived, (archived.store / archived.catalogue(OTHER)["object_key"]).read_bytes())
    (row,) = archived.ask(f"SELECT count(*) AS n FROM transactions WHERE month <> '{COLD}'")
    assert row == {"n": 60}


def test_a_file_that_is_no_parquet_is_refused(archived: Ledger) -> None:
    _put(archived, b"something else" * 100)
    with pytest.raises(DataError, match=r"SQL: .*\.parquet"):
        archived.ask("SELECT count(amount) FROM transactions")


def test_late_rows_are_held_against_the_right_object(archived: Ledger) -> None:
    """Rows that are archived already are left out by the object's keys: of another object, none would be."""
    archived.sql(
        f"CREATE TABLE again PARTITION OF transactions_partitioned"
        f" FOR VALUES FROM ('{COLD}-01 00:00+00') TO ('{OTHER}-01 00:00+00')"
    )
    with psycopg.connect(archived.settings.database_dsn) as connection:
        archived.insert(connection, archived.table, [make_row(archived.table, COLD, number) for number in range(3)])
    assert archived.ask(f"SELECT count(*) AS n FROM transactions WHERE month = '{COLD}'") == [{"n": 10}]
    _put(archived, (archived.store / archived.catalogue(OTHER)["object_key"]).read_bytes())
    with pytest.raises(DataError, match=rf"SQL: transactions {COLD}: "):
        archived.ask("SELECT count(*) FROM transactions WHERE tier = 'hot'")


def test_rows_that_come_late_are_looked_for_in_the_right_object(archived: Ledger) -> None:
    """A row that is archived already is refused by the object's keys: by another object's, it would be kept twice."""
    archived.sql(
        f"CREATE TABLE again PARTITION OF transactions_partitioned"
        f" FOR VALUES FROM ('{COLD}-01 00:00+00') TO ('{OTHER}-01 00:00+00')"
    )
    with psycopg.connect(archived.settings.database_dsn) as connection:
        archived.insert(connection, archived.table, [make_row(archived.table, COLD, 1)])
    _put(archived, (archived.store / archived.catalogue(OTHER)["object_key"]).read_bytes())
    with pytest.raises(DataError, match=f"transactions {COLD}: .*Somebody has put another file there"):
        open_late_rows(archived.settings, archived.table, COLD)
