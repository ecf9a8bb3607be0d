"""The mappings of `examples/mappings` read their samples, to the cent and to the second."""

from pathlib import Path

import psycopg
import pytest

from tests.tasks.importing.conftest import Run

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "mappings"
# Account, then type, amount, fee, currency and UTC time of every row that is loaded.
EXPECTED = {
    "paypal": (
        (4, 3, 0, 0, 1),
        [
            ("receive", "1250.00", "42.80", "USD", "2026-02-03 07:15:02"),
            ("send", "20.00", "0.00", "USD", "2026-02-04 16:40:00"),
            ("receive", "5.00", "0.45", "USD", "2026-07-02 15:00:00"),
        ],
    ),
    "stripe": (
        (3, 3, 0, 0, 0),
        [
            ("receive", "120.50", "3.79", "USD", "2026-02-03 08:15:02"),
            ("refund", "20.00", "0.00", "USD", "2026-02-04 09:00:00"),
            ("receive", "500.00", "18.00", "JPY", "2026-02-05 10:00:00"),
        ],
    ),
    "adyen-settlement": (
        (4, 2, 0, 0, 2),
        [
            ("receive", "100.00", "1.20", "EUR", "2026-02-03 08:15:02"),
            ("refund", "54.00", "0.00", "EUR", "2026-07-04 07:15:02"),
        ],
    ),
    "rabobank": (
        (2, 2, 0, 0, 0),
        [
            ("receive", "50.00", "0.00", "EUR", "2026-02-02 23:00:00"),
            ("send", "1250.75", "0.00", "EUR", "2026-02-03 23:00:00"),
        ],
    ),
    "raiffeisen": (
        (3, 3, 0, 0, 0),
        [
            ("receive", "1234.50", "0.00", "EUR", "2026-02-02 23:00:00"),
            ("send", "12.50", "0.00", "EUR", "2026-02-13 23:00:00"),
            ("send", "12.50", "0.00", "EUR", "2026-02-13 23:00:00"),
        ],
    ),
    "south-african-bank": (
        (3, 3, 0, 0, 0),
        [
            ("deposit", "12500.00", "0.00", "ZAR", "2026-02-02 22:00:00"),
            ("withdraw", "1050.25", "0.00", "ZAR", "2026-02-03 22:00:00"),
            ("withdraw", "12.50", "0.00", "ZAR", "2026-02-04 22:00:00"),
        ],
    ),
}

# Lines: skipped, header, records, footer. Other files have a header and records alone.
LINES = {"raiffeisen": (2, 0, 3, 1), "south-african-bank": (3, 1, 3, 2)}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_a_sample_is_loaded_as_its_mapping_says_and_once(run: Run, database: psycopg.Connection, name: str) -> None:
    mapping, content = (FOLDER / f"{name}.toml").read_text(), (FOLDER / f"{name}.csv").read_bytes()
    account, rows = EXPECTED[name]
    first = run(content, mapping)
    assert first.account == account
    lines = first.report.lines
    expected = LINES.get(name, (0, 1, account[0], 0))
    assert (lines.skipped, lines.header, lines.record_lines, lines.footer) == expected
    found = database.execute(
        "SELECT type, amount::text, fee::text, currency, (created_at AT TIME ZONE 'UTC')::text FROM transactions"
        " ORDER BY created_at, amount"
    ).fetchall()
    assert found == rows
    read, loaded, _, _, rejected = account
    assert run(content, mapping).account == (read, 0, loaded, 0, rejected)
