"""The reports of one run say the same, to the cent, and start no formula."""

import csv
import json
import zipfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ledger.spreadsheet_cells import safe_text
from tests.tasks.reconciliation.books import DAY, Books

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
FORMULA = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture
def folder(books: Books, tmp_path: Path) -> Path:
    """The reports of a day with breaks of several classes, one of them with a text that a spreadsheet would run."""
    for number in range(4):
        books.both(amount=Decimal(20 + number))
    books.own(amount=Decimal("40.00"), status="pending")
    books.own(amount=Decimal("41.10"))
    books.line(amount=Decimal("55.55"), reference=FORMULA, supplier_transaction_id="-1+1")
    books.line(books.own(), amount=Decimal("100.05"))
    books.line(books.own(), status="failed")
    books.line(books.own(type="refund"), kind="refund", amount=Decimal("-99.00"))
    books.run(output=tmp_path / "reports")
    return tmp_path / "reports"


def cells(path: Path, sheet: int) -> list[list[tuple[str | None, str]]]:
    """Kind and text of every cell of a sheet; kind `s` and `inlineStr` are texts, `n` or none numbers."""
    with zipfile.ZipFile(path) as book:
        root = ET.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))  # noqa: S314  # our own file
        names = set(book.namelist())
    assert "xl/calcChain.xml" not in names
    assert list(root.iter(f"{_SHEET}f")) == []
    return [
        [(cell.get("t"), "".join(cell.itertext())) for cell in row.iter(f"{_SHEET}c")]
        for row in root.iter(f"{_SHEET}row")
    ]


def test_every_report_has_the_same_breaks_and_the_same_money(folder: Path) -> None:
    told = json.loads((folder / "report.json").read_text())
    with (folder / "breaks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["no"] for row in rows] == [str(one["no"]) for one in told["breaks"]]
    assert [row["variance"] for row in rows] == [one["variance"] for one in told["breaks"]]
    zar = told["figures"]["currencies"]["ZAR"]
    total = sum(Decimal(row["variance"]) for row in rows)
    assert total == Decimal(zar["variance"]) == Decimal(zar["difference"])
    assert Decimal(zar["statement"]["value"]) - Decimal(zar["own"]["value"]) == total
    assert {name: one["breaks"] for name, one in told["figures"]["classes"].items()} == Counter(
        r["class"] for r in rows
    )
    sheet = cells(folder / "report.xlsx", 2)
    place = [text for _, text in sheet[0]].index("variance")
    assert sum(Decimal(row[place][1]) for row in sheet[1:]) == total
    summary = {row[0][1]: row[-1][1] for row in cells(folder / "report.xlsx", 1) if row}
    assert Decimal(summary["variance"]) == total


def test_the_workbook_has_a_sheet_of_the_figures_and_one_of_the_breaks(folder: Path) -> None:
    with zipfile.ZipFile(folder / "report.xlsx") as book:
        root = ET.fromstring(book.read("xl/workbook.xml"))  # noqa: S314  # our own file
    assert [sheet.get("name") for sheet in root.iter(f"{_SHEET}sheet")] == ["Summary", "Breaks"]


def test_a_text_that_looks_like_a_formula_stays_a_text(folder: Path) -> None:
    with (folder / "breaks.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["class"] == "missing_here"]
    assert (row["reference"], row["supplier_transaction_id"]) == (f"'{FORMULA}", "'-1+1")
    found = [
        (kind, text) for row in cells(folder / "report.xlsx", 2) for kind, text in row if text in (FORMULA, "-1+1")
    ]
    assert sorted(found) == [("inlineStr", "-1+1"), ("inlineStr", FORMULA)]


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", " =1", "\u00a0+1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]
)
def test_whatever_could_start_a_formula_is_made_harmless(text: str) -> None:
    assert safe_text(text) == f"'{text}"
    assert safe_text(f"x{text}") == f"x{text}"


def test_the_return_file_has_flash_s_columns_and_our_total(folder: Path) -> None:
    text = (folder / "return.csv").read_text()
    head = (
        "Date,Product_id,Product_description,Amount,Partner_transaction_reference,Flash_transactionID,Transaction_state"
    )
    assert text.splitlines()[0] == head
    rows = list(csv.DictReader(text.splitlines()))
    told = json.loads((folder / "report.json").read_text())["figures"]
    assert len(rows) == told["own_rows"]
    success = sum(Decimal(row["Amount"]) for row in rows if row["Transaction_state"] == "Success")
    assert f"{success:.2f}" == told["currencies"]["ZAR"]["own"]["value"]
    assert rows[0] == {
        "Date": "2026/02/03 12:00",
        "Product_id": "311",
        "Product_description": "1Voucher",
        "Amount": "20.00",
        "Partner_transaction_reference": "ORD-1",
        "Flash_transactionID": "S1",
        "Transaction_state": "Success",
    }
    assert {row["Transaction_state"] for row in rows} == {"Success", "Pending"}


def test_only_flash_gets_a_return_file(books: Books, tmp_path: Path) -> None:
    mart = Books(books.settings, tmp_path, "mobilemart")
    mart.both(supplier_transaction_id="M1")
    result = mart.run(output=tmp_path / "reports")
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [
        "breaks.csv",
        "matches.parquet",
        "report.json",
        "report.xlsx",
    ]
    assert json.loads((tmp_path / "reports" / "report.json").read_text())["breaks"] == []
    assert f"## mobilemart {DAY}: passed" in result.markdown()


def test_the_same_day_gives_the_same_bytes(books: Books, tmp_path: Path) -> None:
    books.both()
    books.own()
    statement = books.statement()
    for name in ("one", "two"):
        books.run(statement, dry_run=True, output=tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
