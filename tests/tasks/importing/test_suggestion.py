"""A proposed mapping reads the samples of `examples/mappings` once its blanks are filled. It says what is unsure."""

from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from ledger.errors import DataError
from tasks.importing.suggestion import suggest_mapping
from tests.tasks.importing.conftest import Run
from tests.tasks.importing.damaged import EXAMPLES, FOLDER

KEYLESS = 'identity = "values"'
BY_SIGN = 'type = { sign_of = "amount", map = { "+" = "receive", "-" = "send" } }'
UNDECIDED = (
    'created_at = { column = "Date", format = "%-d/%-m/%Y", timezone = "UTC" }   '
    "# or %-m/%-d/%Y: the sample does not decide"
)
# What the proposal for a sample says, then its account and the sum of the amounts, which all count as one currency. The
# totals of the banks are rejected: where the records end, only the owner of the file knows.
EXPECTED = {
    "paypal": (
        [
            'key = ["Transaction ID"]',
            'amount = { column = "Gross", thousands = ",", sign = "absolute" }',
            BY_SIGN,
            UNDECIDED,
        ],
        (4, 4, 0, 0, 0),
        "1285.00",
    ),
    "stripe": (
        [
            'key = ["id"]',
            'amount = { column = "Amount", sign = "absolute" }',
            BY_SIGN,
            'created_at = { column = "Created (UTC)", format = "iso", timezone = "UTC" }',
        ],
        (3, 3, 0, 0, 0),
        "640.50",
    ),
    "adyen-settlement": (
        [
            'key = ["Modification Reference"]',
            'amount = { first_of = ["Gross Credit (GC)", "Gross Debit (GC)"] }',
            'type = { column_of = "amount", map = { "Gross Credit (GC)" = "receive", "Gross Debit (GC)" = "send" } }',
            'created_at = { column = "Creation Date", format = "iso", timezone = "UTC" }',
        ],
        (4, 4, 0, 0, 0),
        "176.00",
    ),
    "rabobank": (
        [
            'encoding = "cp1252"',
            'key = ["Volgnr"]',
            'amount = { column = "Bedrag", decimal = ",", thousands = "", sign = "absolute" }',
            BY_SIGN,
            'created_at = { column = "Datum", format = "%Y-%m-%d", timezone = "UTC" }',
        ],
        (2, 2, 0, 0, 0),
        "1300.75",
    ),
    "raiffeisen": (
        [
            KEYLESS,
            'delimiter = ";"',
            "skip_lines = 2",
            'columns = ["column_1", "column_2", "column_3", "column_4", "column_5", "column_6"]',
            'amount = { column = "column_4", decimal = ",", thousands = ".", sign = "absolute" }',
            BY_SIGN,
            'created_at = { column = "column_1", format = "%-d.%-m.%Y", timezone = "UTC" }',
        ],
        (4, 3, 0, 0, 1),
        "1259.50",
    ),
    "south-african-bank": (
        [
            KEYLESS,
            "skip_lines = 3",
            'amount = { column = "Amount", thousands = " ", symbols = ["R"], signs = { Cr = "+", Dr = "-" }, sign =',
            BY_SIGN,
            'created_at = { column = "Date", format = "%-d %b %Y", timezone = "UTC" }',
        ],
        (5, 3, 0, 0, 2),
        "13562.75",
    ),
}


def filled(proposal: str) -> str:
    """A proposal whose blanks are filled as its owner may fill them."""
    return proposal.replace('currency = { constant = "CHANGE" }', 'currency = { constant = "EUR" }').replace(
        "CHANGE", "mine"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_proposal_for_a_sample_loads_it_once_its_blanks_are_filled(
    run: Run, database: psycopg.Connection, name: str
) -> None:
    wanted, account, total = EXPECTED[name]
    proposal = suggest_mapping(FOLDER / f"{name}.csv")
    lines = proposal.splitlines()
    assert [text for text in wanted if not any(line.startswith(text) for line in lines)] == []
    assert [line for line in lines if "does not decide" in line] == [
        text for text in wanted if "does not decide" in text
    ]
    assert run((FOLDER / f"{name}.csv").read_bytes(), filled(proposal)).account == account
    assert database.execute("SELECT sum(amount) FROM transactions").fetchone() == (Decimal(total),)


def proposed(tmp_path: Path, content: str) -> list[str]:
    (tmp_path / "file.csv").write_text(content)
    return suggest_mapping(tmp_path / "file.csv").splitlines()


LINES = "no,day,amount,text\n7,03.02.2026,12.50,x\n8,14.02.2026,13.50,y\n"


@pytest.mark.parametrize(("delimiter", "written"), [(",", ","), (";", ";"), ("\t", r"\t"), ("|", "|")])
def test_the_delimiter_is_that_of_most_columns(tmp_path: Path, delimiter: str, written: str) -> None:
    lines = proposed(tmp_path, LINES.replace(",", delimiter))
    assert f'delimiter = "{written}"' in lines
    assert 'created_at = { column = "day", format = "%-d.%-m.%Y", timezone = "UTC" }' in lines
    assert not any(line.startswith("strip") for line in lines)


def test_values_with_white_space_around_are_proposed_to_be_stripped(tmp_path: Path) -> None:
    assert any(line.startswith("strip = true") for line in proposed(tmp_path, LINES.replace(",x", ",x  ")))


@pytest.mark.parametrize(
    ("amounts", "options"),
    [
        (["12,50 €", "-1 250,00 €"], 'decimal = ",", thousands = " ", symbols = ["€"], sign = "absolute"'),
        (["$1,250.00", "($3.50)"], 'thousands = ",", symbols = ["$"], sign = "absolute"'),
        (["1'250.50 CHF", "2.00 CHF"], 'thousands = "\'", symbols = ["CHF"]'),
        (
            ["1.250,00 CR", "3,50 DR"],
            'decimal = ",", thousands = ".", signs = { CR = "+", DR = "-" }, sign = "absolute"',
        ),
        (["12.50 Cr", "3.50"], 'signs = { Cr = "+", "" = "-" }, sign = "absolute"'),
        (["12.50 Cr", "-3.50"], 'signs = { Cr = "+", Dr = "-" }, sign = "absolute"'),
        (["12.50 Dr", "3.50"], 'signs = { Cr = "+", Dr = "-" }, sign = "absolute"'),
        (["12.50", "3.50-"], 'sign = "absolute"'),
        (["1,250", "3,500"], ""),  # readable in two ways: such amounts are rejected until the mapping says which
    ],
)
def test_marks_symbols_and_signs_are_those_of_the_amounts(tmp_path: Path, amounts: list[str], options: str) -> None:
    content = "no;day;amount\n" + "".join(f"{n};2026-02-0{n};{text}\n" for n, text in enumerate(amounts, start=1))
    expected = ", ".join(['column = "amount"', *([options] if options else [])])
    assert f"amount = {{ {expected} }}" in proposed(tmp_path, content)


@pytest.mark.parametrize(
    ("amounts", "line"),
    [
        (["USD 1.00", "EUR 2.00"], '{ symbol_of = "amount", map = { "EUR" = "EUR", "USD" = "USD" } }'),
        (["$1.00", "2.00 €"], '{ symbol_of = "amount", map = { "$" = "CHANGE", "€" = "CHANGE" } }'),
        (["R 1.00", "R 2.00"], '{ constant = "CHANGE" }   # or { column = "..." }'),
    ],
)
def test_a_currency_is_proposed_from_symbols_where_there_are_several(
    tmp_path: Path, amounts: list[str], line: str
) -> None:
    content = "no;day;amount\n" + "".join(f"{n};2026-02-0{n};{text}\n" for n, text in enumerate(amounts, start=1))
    assert f"currency = {line}" in proposed(tmp_path, content)


@pytest.mark.parametrize("many", [3, 4_400], ids=["short", "longer than a value may be"])
def test_a_stray_quote_costs_only_its_line(tmp_path: Path, many: int) -> None:
    records = "".join(f"{number},03.02.2026,12.50,x\n" for number in range(8, 8 + many))
    lines = proposed(tmp_path, 'no,day,amount,text\n7,"03.02.2026,12.50,x\n' + records)
    assert 'key = ["no"]   # has no value twice in what was looked at' in lines
    assert not any(line.startswith("skip_lines") for line in lines)


@pytest.mark.parametrize("content", ["[" + '{"a":1},' * 17_000 + "{}]", "\n\n\n"], ids=["a long line", "empty lines"])
def test_lines_without_columns_have_no_proposal(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="no columns were found"):
        proposed(tmp_path, content)


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    lines = proposed(tmp_path, LINES.replace(",x", ",one\u2028two").replace(",y", ",one\u0085two"))
    assert 'created_at = { column = "day", format = "%-d.%-m.%Y", timezone = "UTC" }' in lines
    assert '# A proposal for "file.csv", from its first 2 records. Check every line.' in lines


def test_a_file_without_columns_has_no_proposal(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no columns were found"):
        proposed(tmp_path, "no columns\nhere\n")
