"""Files that are damaged at random: the account is right whatever becomes of a line, and a second run loads nothing."""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from sql.connection import connect
from sql.preparation import prepare_table
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tests.tasks.importing.conftest import physical_lines
from tests.tasks.importing.damaged import ORIGINALS, damaged
from tests.tasks.importing.second_reading import Account, read_account

NOW = datetime(2026, 11, 23, tzinfo=UTC)
Stored = tuple[int, Decimal, Decimal]
# Of one file, on average: what is refused as a whole shows little. Half are read, nearly all of them by the second
# reading, too, to the line and the cent.
LEAST_READ, LEAST_ACCOUNTED, LEAST_LOADED = 0.4, 0.35, 0.5

SAMPLE = range(26, 38)  # in some of these files a total is before records


class Seen(NamedTuple):
    """What an import of a damaged file showed. ``is_accounted`` says that the second reading had all of it, too."""

    loaded: int
    is_accounted: bool


@pytest.fixture(autouse=True)
def table(settings: Settings) -> None:
    with connect(settings.database_dsn, "test") as connection:
        prepare_table(connection, settings, settings.table("transactions"))


def stored(database: psycopg.Connection) -> Stored:
    row = database.execute(
        "SELECT count(*), coalesce(sum(amount), 0), coalesce(sum(fee), 0) FROM transactions"
    ).fetchone()
    assert row is not None
    return row


def account_of(report: ImportReport, before: Stored, after: Stored) -> Account:
    """The account that the import gives, and what is stored since."""
    lines, count, amount, fee = report.lines, after[0] - before[0], after[1] - before[1], after[2] - before[2]
    return Account(lines.skipped, lines.header, lines.record_lines, lines.footer, count, amount, fee)


def check(settings: Settings, database: psycopg.Connection, folder: Path, original: str, seed: int) -> Seen | None:
    """Import a damaged file twice. None where it is refused as a whole, and nothing is loaded then."""
    file, mapping = folder / "fuzz.csv", folder / "fuzz.toml"
    content, text, records = damaged(original, seed)
    file.write_bytes(content)
    mapping.write_text(text)
    before = stored(database)
    try:
        first = import_file(settings, ImportRequest(file, mapping), lambda *_: None, NOW)
    except (ConfigError, DataError):
        assert stored(database) == before, seed
        return None
    assert first.read == first.loaded + first.known + first.different + first.rejected, seed
    assert first.lines.all == len(physical_lines(content)), seed
    assert first.lines.records == first.read, seed
    with first.rejects.open(encoding="utf-8", newline="") as rejects:
        refused = [int(line[0]) for line in list(csv.reader(rejects))[1:]]
    assert len(refused) == first.read - first.loaded, seed
    after = stored(database)
    assert after[0] - before[0] == first.loaded, seed
    expected = read_account(content, text, set(refused), records)
    assert expected in (None, account_of(first, before, after)), seed
    second = import_file(settings, ImportRequest(file, mapping), lambda *_: None, NOW)
    assert (second.loaded, second.rejected) == (0, first.rejected), seed
    assert second.known + second.different == first.loaded + first.known + first.different, seed
    assert stored(database) == after, seed
    return Seen(first.loaded, expected is not None)


def check_all(
    settings: Settings, database: psycopg.Connection, folder: Path, original: str, seeds: Iterable[int]
) -> None:
    """Check the damaged files of all ``seeds``, and that enough of them are read to show anything."""
    results = [check(settings, database, folder, original, seed) for seed in seeds]
    read = [seen for seen in results if seen is not None]
    assert len(read) >= LEAST_READ * len(results)
    assert sum(seen.is_accounted for seen in read) >= LEAST_ACCOUNTED * len(results)
    assert sum(seen.loaded for seen in read) >= LEAST_LOADED * len(results)


@pytest.mark.parametrize("original", ORIGINALS)
def test_the_account_of_a_damaged_file_is_right(
    settings: Settings, database: psycopg.Connection, tmp_path: Path, original: str
) -> None:
    check_all(settings, database, tmp_path, original, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("original", ORIGINALS)
def test_the_account_of_many_damaged_files_is_right(
    settings: Settings, database: psycopg.Connection, tmp_path: Path, original: str
) -> None:
    check_all(settings, database, tmp_path, original, range(1000, 1750))
