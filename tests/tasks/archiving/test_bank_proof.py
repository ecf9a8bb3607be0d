"""The final proof: a real bank's year, imported, archived, and found again in the Parquet files to the cent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ledger.canonical import canonical_row
from ledger.merkle import leaf_hash, merkle_root
from ledger.month_tree import leaf_texts
from ledger.months import Month
from storage.manifest import Manifest
from tasks.archiving.outcome import MoveAction, MoveResult
from tasks.importing.run import ImportRequest, import_file
from tests.tasks.archiving.ledger import PROJECT, Ledger
from tests.tasks.importing.test_bank import FILE, ROWS, months_of_the_file

MAPPING = PROJECT / "examples" / "bank-transactions.toml"
AS_OF = date(1995, 6, 15)


@pytest.fixture
def archived(ledger: Ledger, tmp_path: Path) -> Ledger:
    if not FILE.is_file():
        pytest.skip(f"the bank's file is not at {FILE}; TREASURY_TEST_BANK_FILE can name it")
    request = ImportRequest(FILE, MAPPING, rejects=tmp_path / "rejects.csv")
    report = import_file(ledger.settings, request, lambda *_: None, datetime.now(UTC))
    assert (report.read, report.loaded) == (ROWS, ROWS)
    outcomes = ledger.night(as_of=AS_OF)
    assert {(o.action, o.result) for o in outcomes} == {
        (MoveAction.TO_WARM, MoveResult.MOVED),
        (MoveAction.TO_COLD, MoveResult.MOVED),
    }
    return ledger


@pytest.mark.heavy("months of generated rows are proved, too")
def test_a_bank_s_year_is_in_the_archive_to_the_cent_and_proved(archived: Ledger, tmp_path: Path) -> None:
    """One import for all of it: the file is large. The CSV is read by csv and Decimal alone."""
    expected = months_of_the_file(FILE)
    assert len(expected) == 10
    assert {name: months_rows(archived, Month.parse(name)) for name in expected} == expected
    assert archived.content() == expected
    assert {tier for _, tier in archived.whole()} == {"cold"}
    archived.check_archive()
    for name in expected:
        archived.check_no_partition(Month.parse(name))
        check_digest(archived, Month.parse(name))

    request = ImportRequest(FILE, MAPPING, rejects=tmp_path / "again.csv")
    again = import_file(archived.settings, request, lambda *_: None, datetime.now(UTC))
    assert (again.read, again.loaded, again.known, again.rejected) == (ROWS, 0, ROWS, 0)
    assert archived.content() == expected


def months_rows(ledger: Ledger, month: Month) -> tuple[int, Decimal]:
    """Count and sum of a month, straight from its Parquet file on the store's disk."""
    key = ledger.catalogue(month)["object_key"]
    amounts = pq.read_table(ledger.store / key, columns=["amount"]).column(0).to_pylist()
    return len(amounts), sum(amounts, Decimal(0))


def check_digest(ledger: Ledger, month: Month) -> None:
    """The manifest is the catalogue's, the file the manifest's, and the digest that of the definition in Python."""
    row = ledger.catalogue(month)
    content = (ledger.store / row["manifest_key"]).read_bytes()
    manifest = Manifest.from_bytes(content, row["manifest_key"])
    assert sha256(content).digest() == row["manifest_sha256"]
    (file,) = manifest.files
    stored = ledger.store / file.key
    assert (stored.stat().st_size, sha256(stored.read_bytes()).hexdigest()) == (file.size_bytes, file.sha256)
    layout = manifest.layout
    rows = pq.read_table(stored).to_pylist()
    texts = [
        canonical_row(layout.columns, [values[column.name] for column in layout.columns]).decode() for values in rows
    ]
    leaves = (leaf_hash(text.encode()) for text in leaf_texts(layout, texts))
    assert merkle_root(leaves).hex() == manifest.tree.root == row["digest"].hex()
    assert manifest.rows == len(rows) == row["row_count"]
