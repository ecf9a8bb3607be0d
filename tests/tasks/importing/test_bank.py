"""The real file: 18,114 bank transactions of 1993, read where it lies."""

import csv
import gzip
import os
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from config import Settings
from tasks.importing.run import ImportRequest, import_file

PROJECT = Path(__file__).resolve().parents[3]
FILE = Path(
    os.environ.get("TREASURY_TEST_BANK_FILE", PROJECT.parent / "shared" / "data" / "bank-transactions-1993.csv.gz")
)
ROWS = 18_114


@pytest.fixture
def bank_file() -> Path:
    if not FILE.is_file():
        pytest.skip(f"the bank's file is not at {FILE}; TREASURY_TEST_BANK_FILE can name it")
    return FILE


def months_of_the_file(file: Path) -> dict[str, tuple[int, Decimal]]:
    """Count and sum of each month, from the CSV alone."""
    months: dict[str, list[Decimal]] = defaultdict(list)
    with gzip.open(file, "rt", encoding="ascii", newline="") as text:
        for row in csv.DictReader(text, delimiter=";"):
            months[f"19{row['date'][:2]}-{row['date'][2:4]}"].append(Decimal(row["amount"]))
    return {month: (len(amounts), sum(amounts, Decimal(0))) for month, amounts in months.items()}


@pytest.mark.heavy("the same file twice loads nothing, in a small file, too")
def test_the_bank_s_file_is_loaded_whole_and_once(bank_file: Path, settings: Settings, tmp_path: Path) -> None:
    request = ImportRequest(
        bank_file, PROJECT / "examples" / "bank-transactions.toml", rejects=tmp_path / "rejects.csv"
    )
    now = datetime(2026, 11, 23, tzinfo=UTC)
    first = import_file(settings, request, lambda *_: None, now)
    second = import_file(settings, request, lambda *_: None, now)
    assert (first.read, first.loaded, first.rejected) == (ROWS, ROWS, 0)
    assert (second.read, second.loaded, second.known, second.rejected) == (ROWS, 0, ROWS, 0)
    with psycopg.connect(settings.database_dsn) as connection:
        rows = connection.execute(
            "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*), sum(amount)"
            " FROM transactions GROUP BY 1"
        ).fetchall()
        kinds: dict[str, int] = dict(
            connection.execute("SELECT type, count(*) FROM transactions GROUP BY 1").fetchall()
        )
    assert {month: (count, total) for month, count, total in rows} == months_of_the_file(bank_file)
    assert kinds == {"deposit": 4_844, "receive": 4_111, "transfer": 3_484, "withdraw": 5_675}
