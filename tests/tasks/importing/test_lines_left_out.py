"""The lines before and behind the records of a file, such as totals: no record vanishes among them."""

import psycopg
import pytest

from ledger.errors import DataError
from tests.tasks.importing.conftest import Outcome, Run
from tests.tasks.importing.test_identity import M, count

HEADER = b"wallet,id,amount,at\n"
UNTIL = M.replace("[fields]", '[file]\nuntil = "Total"\n[fields]')
ITSELF = "begins as file.until says that the lines behind the records begin, and looks like a record"
TIME = b"2026-02-01T10:15:00Z"


def line(wallet: bytes, key: int, amount: bytes = b"1.00", at: bytes = TIME) -> bytes:
    return b"%s,%d,%s,%s\n" % (wallet, key, amount, at)


def behind(number: int) -> str:
    return f"is behind line {number}, which ends the records, and looks like one"


def rejected(outcome: Outcome) -> list[tuple[int, str]]:
    return [(number, reason) for number, reason, _, _ in outcome.rejects]


def lines_of(outcome: Outcome) -> tuple[int, int, int, int]:
    lines = outcome.report.lines
    assert lines.records == outcome.report.read
    return lines.skipped, lines.header, lines.record_lines, lines.footer


def test_a_record_that_begins_like_the_end_is_rejected_and_so_are_those_behind_it(
    run: Run, database: psycopg.Connection
) -> None:
    records = [line(b"w", 1), line(b"Total Garage", 2), line(b"w", 3), line(b"Totalise", 4)]
    outcome = run(HEADER + b"".join(records), UNTIL)
    assert outcome.account == (4, 1, 0, 0, 3)
    assert rejected(outcome) == [(3, ITSELF), (4, behind(3)), (5, behind(3))]
    assert lines_of(outcome) == (0, 1, 4, 0)
    assert count(database) == 1


@pytest.mark.parametrize("start", [b'"Total Garage"', b" Total Garage", b' "Total Garage"'])
def test_quotes_and_blanks_before_the_text_of_the_end_hide_no_record(run: Run, start: bytes) -> None:
    outcome = run(HEADER + line(b"w", 1) + line(start, 2), UNTIL)
    assert [number for number, _ in rejected(outcome)] == [3]
    assert lines_of(outcome) == (0, 1, 2, 0)


TOTALS = [
    b"Total credits,,12.00,\n",
    b"Total debits,,0.00,\n",
    b"Balance,7,12.00,at the end\n",
    b",,,\n",
    b"\n",
    b"page 1\n",
]


def test_totals_with_as_many_columns_as_a_record_are_the_footer(run: Run) -> None:
    content = b"a bank\n\n" + HEADER + line(b"w", 1) + line(b"w", 2) + b"".join(TOTALS)
    mapping = UNTIL.replace("[file]", "[file]\nskip_lines = 2")
    outcome = run(content, mapping)
    assert (outcome.account, lines_of(outcome)) == ((2, 2, 0, 0, 0), (2, 1, 2, 6))
    assert (run(content, mapping).account, outcome.rejects) == ((2, 0, 2, 0, 0), [])


WRONG = {
    "no wallet": line(b"", 2),
    "no amount": line(b"w", 2, b"5.00x"),
    "no key": b"w,,5.00,%s\n" % TIME,
    "other bytes": b"\xff,2,5.00,%s\n" % TIME,
    "a quote": b'w"2,2,5.00,%s\n' % TIME,
    "inside quotes": b'"page\n2,2,5.00,%s\n",x,x\n' % TIME,
    "inside quotes of a line of as many columns": b'"page\n2,2,5.00,%s\n",x,x,x\n' % TIME,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_record_behind_the_end_that_makes_no_row_is_rejected_too(run: Run, wrong: bytes) -> None:
    outcome = run(HEADER + line(b"w", 1) + TOTALS[0] + wrong + TOTALS[1], UNTIL)
    assert rejected(outcome) == [(4, behind(3))]
    assert lines_of(outcome) == (0, 1, 1 + wrong.count(b"\n"), 2)


@pytest.mark.parametrize(
    "time", ['{ constant = "2026-02-01T10:15:00Z" }', '{ column = "at", default = "2026-02-01T10:15:00Z" }']
)
def test_a_time_that_the_mapping_gives_to_every_line_makes_no_record_of_a_total(run: Run, time: str) -> None:
    mapping = UNTIL.replace('{ column = "at", format = "iso" }', time)
    outcome = run(HEADER + line(b"w", 1) + TOTALS[0] + line(b"w", 2), mapping)
    assert rejected(outcome) == [(4, behind(3))]
    assert lines_of(outcome) == (0, 1, 2, 1)


@pytest.mark.parametrize("end", [TOTALS[0], line(b"Total Garage", 2)])
def test_a_file_whose_first_line_ends_the_records_is_refused(run: Run, end: bytes) -> None:
    with pytest.raises(DataError, match=r"has no record before line 2, where file\.until ends them: nothing was read"):
        run(HEADER + end + line(b"w", 1), UNTIL)


SKIPPED = "is one of the lines that file.skip_lines leaves out, and looks like a record"
BARE = M.replace("[fields]", '[file]\ncolumns = ["wallet", "id", "amount", "at"]\nskip_lines = 2\n[fields]')


def test_a_record_among_the_skipped_lines_is_rejected(run: Run, database: psycopg.Connection) -> None:
    """An export without the lines before its records, or with fewer of them."""
    outcome = run(line(b"w", 1) + line(b"w", 2, b"5.00x") + line(b"w", 3), BARE)
    assert rejected(outcome) == [(1, SKIPPED), (2, SKIPPED)]
    assert (outcome.account, lines_of(outcome)) == ((3, 1, 0, 0, 2), (0, 0, 3, 0))
    outcome = run(b"a bank,,,\n" + line(b"w", 2) + line(b"w", 3), BARE)
    assert rejected(outcome) == [(2, SKIPPED), (3, "already loaded")]
    assert lines_of(outcome) == (1, 0, 2, 0)
    assert count(database) == 1
