"""The independent verifier agrees with the archive on every type, and notices whatever was changed."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config import Settings
from ledger.identifiers import new_id
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import connect
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tests.archives import Archives, one_cold_month
from tests.tasks.archiving.ledger import COLD, PROJECT, Ledger

EVERY_KIND = """
    CREATE TABLE readings_partitioned (
        id uuid NOT NULL, small smallint, big bigint, whole numeric(20, 0), fine numeric(38, 12), price numeric(18, 2),
        flag boolean, day date, note text, extra jsonb, created_at timestamptz NOT NULL,
        PRIMARY KEY (id, created_at)
    ) PARTITION BY RANGE (created_at)
"""
READINGS = TieredTable(
    name="readings",
    money_columns=("price", "fine"),
    currency_column=None,
    status_column=None,
    cold_sort=("created_at",),
    bloom_columns=("id",),
)


@pytest.fixture
def ledger(settings: Settings, tmp_path: Path) -> Ledger:
    """A ledger whose archive is a folder, as a copy of the bucket would be."""
    folder = tmp_path / "archive"
    folder.mkdir()
    return Ledger(settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)


def verify(ledger: Ledger) -> "subprocess.CompletedProcess[str]":
    (manifest,) = ledger.store.rglob("*.manifest.json")
    program = [sys.executable, str(PROJECT / "examples/verify_month.py"), str(manifest)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    archives.begin(ledger.settings, one_cold_month)
    return ledger


def test_an_archived_month_is_proved_by_a_script_of_its_own(archived: Ledger) -> None:
    answer = verify(archived)
    digest = archived.catalogue(COLD)["digest"].hex()
    assert answer.stdout == f"transactions {COLD}: 40 rows, Merkle root {digest}: proved\n"
    assert (answer.returncode, answer.stderr) == (0, "")


def _reading(month: Month, number: int) -> dict[str, Any]:
    at = month.lower + timedelta(milliseconds=number)
    values = [
        {"small": -1, "big": 2**63 - 1, "whole": Decimal(10) ** 19, "fine": Decimal("-0.000000000001"), "flag": False},
        {"price": Decimal("-0.01"), "flag": True, "day": date(1969, 12, 31), "note": "", "extra": '{"b": [1, "é"]}'},
        {"price": Decimal(0), "fine": Decimal(0), "day": date(2199, 1, 1), "note": "naïve ☕\n", "extra": "null"},
        {},
    ]
    return {"id": new_id(at, lambda bits: number + (1 << bits - 1)), "created_at": at, **values[number]}


@pytest.mark.parametrize("arguments", [(), ("--help",), ("month.parquet",)])
def test_without_a_manifest_the_script_says_how_to_use_it(arguments: tuple[str, ...]) -> None:
    program = [sys.executable, "-I", str(PROJECT / "examples/verify_month.py"), *arguments]
    answer = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 2
    assert "python verify_month.py COPY/_treasury/manifests/" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_every_type_has_the_same_text_for_three_readers(ledger: Ledger) -> None:
    ledger.sql(EVERY_KIND)
    ledger.fill(COLD, rows=0, table=READINGS)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        for number in range(4):
            ledger.insert(connection, READINGS, [_reading(COLD, number)])
    warm_month(ledger.settings, READINGS, COLD)
    done = archive_month(ledger.settings, READINGS, COLD)  # PostgreSQL and DataFusion agree
    assert verify(ledger).stdout == f"readings {COLD}: 4 rows, Merkle root {done.digest.hex()}: proved\n"


def _change_a_byte(store: Path) -> None:
    (file,) = store.rglob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _rewrite(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and give it the name that fits its new bytes, as a forger would."""
    (path,) = store.rglob("*.manifest.json")
    manifest = json.loads(path.read_bytes())
    change(manifest)
    content = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    path.unlink()
    path.with_name(f"{sha256(content).hexdigest()[:32]}-1.manifest.json").write_bytes(content)


def _change_a_value(store: Path) -> None:
    """Write the file anew with one description changed, and make the manifest's SHA-256 fit."""
    (file,) = store.rglob("*.parquet")
    table = pq.read_table(file)
    row = table.slice(0, 1).set_column(table.schema.get_field_index("description"), "description", [["forged"]])
    pq.write_table(pa.concat_tables([row.cast(table.schema), table.slice(1)]), file)
    digest = sha256(file.read_bytes()).hexdigest()
    _rewrite(store, lambda manifest: manifest["files"][0].update(sha256=digest))


def _change_the_sum(store: Path) -> None:
    _rewrite(store, lambda manifest: manifest["totals"][0]["sums"].update(amount="1.00"))


def _change_the_manifest(store: Path) -> None:
    (path,) = store.rglob("*.manifest.json")
    path.write_bytes(path.read_bytes().replace(b'"rows":40', b'"rows":41'))


def _change_the_tree(store: Path) -> None:
    """Change a chunk's root, and make the manifest's SHA-256 fit."""
    (file,) = store.rglob("*.tree")
    file.write_bytes(bytes(32))
    _rewrite(store, lambda manifest: manifest["tree"].update(sha256=sha256(bytes(32)).hexdigest()))


def _swap_two_rows(store: Path) -> None:
    """Write the file anew with its rows in another order, and make the manifest's SHA-256 fit."""
    (file,) = store.rglob("*.parquet")
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table.slice(1, 1), table.slice(0, 1), table.slice(2)]), file)
    digest = sha256(file.read_bytes()).hexdigest()
    _rewrite(store, lambda manifest: manifest["files"][0].update(sha256=digest))


def _lose_the_file(store: Path) -> None:
    (file,) = store.rglob("*.parquet")
    file.unlink()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (_change_a_byte, "SHA-256 of transactions/month=2024-03/"),
        (_change_a_value, "Merkle root: found"),
        (_change_the_sum, "sums: found"),
        (_change_the_manifest, "the name of the manifest: found"),
        (_change_the_tree, "roots of the chunks in _treasury/trees/transactions/2024-03/"),
        (_swap_two_rows, "order of the rows"),
        (_lose_the_file, "No such file"),
    ],
)
def test_what_was_changed_is_told(archived: Ledger, forge: Callable[[Path], None], said: str) -> None:
    forge(archived.store)
    answer = verify(archived)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert answer.stdout == ""
