"""The final proof: a real bank's year, imported, archived, and found again in the Parquet files to the cent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ledger.canonical import canonical_row
from ledger.columns import ColumnKind
from ledger.merkle import leaf_hash, merkle_root
from ledger.months import Month
from storage.manifest import Manifest
from tasks.importing.run import ImportRequest, import_file
from tasks.outcome import Action, Result
from tests.archive.ledger import PROJECT, Ledger
from tests.importing.test_bank import FILE, ROWS, months_of_the_file

AS_OF = date(1995, 6, 15)


@pytest.fixture
def archived(ledger: Ledger, tmp_path: Path) -> Ledger:
    if not FILE.is_file():
        pytest.skip(f"the bank's file is not at {FILE}; TREASURY_BANK_FILE can name it")
    mapping = PROJECT / "examples" / "bank-transactions.toml"
    request = ImportRequest(FILE, mapping, rejects=tmp_path / "rejects.csv")
    report = import_file(ledger.settings, request, lambda *_: None, datetime.now(UTC))
    assert (report.read, report.loaded) == (ROWS, ROWS)
    ledger.fill(Month.parse("1995-12"), rows=0)  # partitions reach beyond as_of, as rollover leaves them
    outcomes = ledger.night(as_of=AS_OF)
    assert {(o.action, o.result) for o in outcomes} == {
        (Action.TO_WARM, Result.MOVED),
        (Action.TO_COLD, Result.MOVED),
    }
    return ledger


def test_the_archive_holds_what_the_csv_says_month_by_month(archived: Ledger) -> None:
    expected = months_of_the_file(FILE)
    assert len(expected) == 10
    in_files = {}
    for month in expected:
        row = archived.catalogue(Month.parse(month))
        amounts = pq.read_table(archived.store / row["object_key"], columns=["amount"]).column(0).to_pylist()
        in_files[month] = (len(amounts), sum(amounts, Decimal(0)))
    assert in_files == expected
    assert archived.content() == expected
    assert {tier for _, tier in archived.whole()} == {"cold"}


def test_nothing_of_it_is_left_in_postgresql_and_a_third_import_loads_nothing(archived: Ledger, tmp_path: Path) -> None:
    for month in months_of_the_file(FILE):
        archived.check_no_partition(Month.parse(month))
    archived.check_archive()
    before = archived.content()
    request = ImportRequest(FILE, PROJECT / "examples" / "bank-transactions.toml", rejects=tmp_path / "again.csv")
    again = import_file(archived.settings, request, lambda *_: None, datetime.now(UTC))
    assert (again.read, again.loaded, again.rejected) == (ROWS, 0, ROWS)
    assert archived.content() == before


def test_the_digest_can_be_computed_again_from_the_file_by_the_definition_alone(archived: Ledger) -> None:
    month = Month.parse("1993-01")
    row = archived.catalogue(month)
    content = (archived.store / row["manifest_key"]).read_bytes()
    manifest = Manifest.from_bytes(content, row["manifest_key"])
    assert sha256(content).digest() == row["manifest_sha256"]
    (file,) = manifest.files
    stored = archived.store / file.key
    assert (stored.stat().st_size, sha256(stored.read_bytes()).hexdigest()) == (file.size_bytes, file.sha256)
    columns = manifest.typed_columns
    rows = sorted(pq.read_table(stored).to_pylist(), key=lambda values: values["id"].bytes)
    assert {column.kind for column in columns} >= {ColumnKind.UUID, ColumnKind.DECIMAL, ColumnKind.JSON}
    leaves = (leaf_hash(canonical_row(columns, [values[column.name] for column in columns])) for values in rows)
    assert merkle_root(leaves).hex() == manifest.digest
    assert manifest.rows == len(rows) == months_of_the_file(FILE)[str(month)][0]
