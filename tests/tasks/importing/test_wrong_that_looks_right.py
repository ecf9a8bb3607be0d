"""Files that were read wrong and looked right, each with what is right. The account of records and lines is checked by
the fixture for each of them.
"""

import gzip
import io
import tarfile
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from sql.connection import connect
from sql.preparation import prepare_table
from tests.tasks.importing.conftest import Run
from tests.tasks.importing.test_identity import HEADER, M, count

LINE = b"1,w,1.00,2026-02-01T10:15:00Z\n"
NOTED = b"id,wallet,amount,at,note\n"


def amounts(database: psycopg.Connection) -> list[tuple[str, Decimal]]:
    return database.execute("SELECT type, amount FROM transactions ORDER BY 1, 2").fetchall()


def mapped(**fields: str) -> str:
    """`M` with other mappings of some fields."""
    text = M
    for name, value in fields.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
        text = "\n".join([*lines, f"{name} = {value}", ""])
    return text


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n"])
def test_bare_cr_ends_lines_like_lf(run: Run, database: psycopg.Connection, end: bytes) -> None:
    content = HEADER + b"".join(b"%d,w,1.00,2026-02-01T10:15:00Z\n" % number for number in range(13))
    assert run(content.replace(b"\n", end), M).account == (13, 13, 0, 0, 0)
    assert count(database) == 13


@pytest.mark.parametrize(
    "content", [b"", HEADER, HEADER.rstrip(), b"\xef\xbb\xbf" + HEADER, HEADER.replace(b"\n", b"\r")]
)
def test_a_file_of_which_nothing_is_read_is_an_error(run: Run, content: bytes) -> None:
    with pytest.raises(DataError, match=r"nothing was read|is empty"):
        run(content, M)


@pytest.mark.parametrize(
    "text",
    ["2026-02-03 10.15", "2026-02-03 10-15", "2026-02-01+02:00", "20260203101", "2026-02-03", "2026-02-03T10:15Z"],
)
def test_what_is_no_date_and_time_of_rfc_3339_is_rejected_by_name(
    run: Run, database: psycopg.Connection, text: str
) -> None:
    outcome = run(HEADER + LINE + f"2,w,1.00,{text}\n".encode(), M)
    assert outcome.account == (2, 1, 0, 0, 1)
    assert (outcome.rejects[0][0], outcome.rejects[0][2]) == (3, "created_at")
    assert "RFC 3339" in outcome.rejects[0][1]


GAP, TWICE = "2026-03-29 02:30:00", "2026-10-25 02:30:00"  # Europe/Berlin


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ("", GAP, "must be a local time that exists"),
        (', nonexistent = "shift"', GAP, "2026-03-29 01:30:00+00"),
        ("", TWICE, "2026-10-25 00:30:00+00"),
        (', ambiguous = "second"', TWICE, "2026-10-25 01:30:00+00"),
        (', ambiguous = "reject"', TWICE, "must be a local time that occurs once"),
        (', ambiguous = "reject"', "2026-10-25 03:30:00", "2026-10-25 02:30:00+00"),
    ],
)
@pytest.mark.parametrize("format_", ["iso", "%Y-%m-%d %H:%M:%S"])
def test_local_times_that_do_not_exist_or_occur_twice(
    run: Run, database: psycopg.Connection, format_: str, options: str, text: str, expected: str
) -> None:
    mapping = mapped(created_at=f'{{ column = "at", format = "{format_}", timezone = "Europe/Berlin"{options} }}')
    outcome = run(HEADER + f"1,w,1.00,{text}\n".encode(), mapping)
    found = [
        text for (text,) in database.execute("SELECT (created_at AT TIME ZONE 'UTC')::text || '+00' FROM transactions")
    ]
    assert (found or [outcome.rejects[0][1]])[0].startswith(expected)


CREDIT_DEBIT = {
    "amount": '{ first_of = ["credit", "debit"] }',
    "type": '{ column_of = "amount", map = { credit = "deposit", debit = "withdraw" } }',
}


def test_an_amount_is_in_one_of_two_columns_and_says_its_type(run: Run, database: psycopg.Connection) -> None:
    lines = [b"100,0", b"54,0.00", b",5.00", b"0,7", b"1,2", b",", b"0,0.00", b"-3,"]
    content = b"id,wallet,credit,debit,at\n" + b"".join(
        b"%d,w,%s,2026-02-01T10:15:00Z\n" % (number, line) for number, line in enumerate(lines)
    )
    outcome = run(content, mapped(**CREDIT_DEBIT))
    assert outcome.account == (8, 4, 0, 0, 4)
    assert [(line, reason) for line, reason, _, _ in outcome.rejects] == [
        (6, "must be in one column: credit and debit both have an amount"),
        (7, "is required"),
        (8, "must be more than 0"),
        (9, "must be more than 0"),
    ]
    expected = [("deposit", "54"), ("deposit", "100"), ("withdraw", "5"), ("withdraw", "7")]
    assert amounts(database) == [(kind, Decimal(amount)) for kind, amount in expected]


@pytest.mark.parametrize("field", ["amount", "fee"])
def test_money_from_a_template_is_refused(run: Run, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"fields\.{field}\.template: .*first_of"):
        run(HEADER + LINE, mapped(**{field: '{ template = "{amount}{amount}" }'}))


@pytest.mark.parametrize("of", ["wallet_id", "nothing", "fee"])
def test_a_sign_is_that_of_a_money_field_of_the_mapping(run: Run, of: str) -> None:
    with pytest.raises(ConfigError, match=rf"type\.sign_of: {of} is not a money field of the mapping"):
        run(HEADER + LINE, mapped(type=f'{{ sign_of = "{of}" }}'))
    with pytest.raises(ConfigError, match=r"type\.column_of: amount is not a money field of the mapping with first_of"):
        run(HEADER + LINE, mapped(type='{ column_of = "amount" }'))


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1.230", "", None),
        ("1.230", ', thousands = ""', "1.23"),
        ("1.230", ', thousands = ","', "1.23"),
        ("1,230", ', decimal = ","', None),
        ("1,230", ', decimal = ",", thousands = "."', "1.23"),
        ("1,230", ', thousands = ","', "1230"),
        ("1.230", ', decimal = ",", thousands = "."', "1230"),
        ("-1.230", ', sign = "absolute"', None),
        ("0.230", "", "0.23"),
        ("1234.500", "", "1234.5"),
        ("1.2300", "", "1.23"),
    ],
)
def test_an_amount_that_can_be_read_in_two_ways_is_rejected(
    run: Run, database: psycopg.Connection, text: str, options: str, expected: str | None
) -> None:
    outcome = run(
        HEADER + f'1,w,"{text}",2026-02-01T10:15:00Z\n'.encode(), mapped(amount=f'{{ column = "amount"{options} }}')
    )
    found = [amount for _, amount in amounts(database)]
    assert found == ([] if expected is None else [Decimal(expected)])
    assert [field for _, _, field, _ in outcome.rejects] == ([] if expected else ["amount"])


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [
        ("500", "ZAR", "5.00"),
        ("500", "JPY", "500"),
        ("1230", "KWD", "1.23"),
        ("1234", "KWD", None),
        ("5", "TND", None),
        ("10", "BHD", "0.01"),
        ("500", "KRW", "500"),
    ],
)
def test_minor_units_are_those_of_the_currency(
    run: Run, database: psycopg.Connection, text: str, currency: str, expected: str | None
) -> None:
    mapping = mapped(amount='{ column = "amount", unit = "minor" }', currency='{ column = "cur" }')
    outcome = run(f"id,wallet,amount,at,cur\n1,w,{text},2026-02-01T10:15:00Z,{currency}\n".encode(), mapping)
    assert [amount for _, amount in amounts(database)] == ([] if expected is None else [Decimal(expected)])
    assert [field for _, _, field, _ in outcome.rejects] == ([] if expected else ["amount"])


def test_an_amount_with_cents_of_a_currency_without_is_rejected(run: Run) -> None:
    outcome = run(
        HEADER + b"1,w,120.50,2026-02-01T10:15:00Z\n2,w,120.00,2026-02-01T10:15:00Z\n", M.replace("ZAR", "JPY")
    )
    assert [reject[:3] for reject in outcome.rejects] == [
        (2, "must be a whole number: JPY has no decimal places", "amount")
    ]


@pytest.mark.parametrize(("currency", "day"), [("BYR", "2015-02-01"), ("ITL", "2001-02-01"), ("TRL", "2004-02-01")])
def test_an_amount_with_cents_of_an_ended_currency_without_is_rejected(run: Run, currency: str, day: str) -> None:
    lines = f"1,w,120.50,{day}T10:15:00Z\n2,w,120.00,{day}T10:15:00Z\n".encode()
    outcome = run(HEADER + lines, M.replace("ZAR", currency))
    assert outcome.account == (2, 1, 0, 0, 1)
    assert [reject[:3] for reject in outcome.rejects] == [
        (2, f"must be a whole number: {currency} has no decimal places", "amount")
    ]


def test_a_quote_in_a_column_that_is_not_mapped_swallows_no_record(run: Run, database: psycopg.Connection) -> None:
    lines = b'1,w,1.00,2026-02-01T10:15:00Z,"open\n2,w,2.00,2026-02-01T10:15:00Z,x\n3,w,3.00,2026-02-01T10:15:00Z,y"\n'
    outcome = run(NOTED + lines + b"4,w,4.00,2026-02-01T10:15:00Z,z\n", M)
    assert outcome.account == (2, 1, 0, 0, 1)
    assert (outcome.report.lines.records, outcome.report.lines.record_lines) == (2, 4)
    assert outcome.rejects[0][:3] == (2, "must have no line breaks: its quotes hold lines 2 to 4", "note")
    allowed = M.replace("[fields]", '[file]\nline_breaks = ["note"]\n[fields]')
    assert run(NOTED + lines, allowed).rejects[0][:2] == (2, "has quotes that hold line 3, which looks like a record")


def test_line_breaks_in_a_column_that_is_not_mapped_are_read_where_the_mapping_allows_them(run: Run) -> None:
    allowed = M.replace("[fields]", '[file]\nline_breaks = ["note"]\n[fields]')
    outcome = run(NOTED + b'1,w,1.00,2026-02-01T10:15:00Z,"two\nlines, of text"\n', allowed)
    assert outcome.account == (1, 1, 0, 0, 0)
    assert (outcome.report.lines.all, outcome.report.lines.record_lines) == (3, 2)


@pytest.mark.parametrize("wallet", [b'w"', b'w"1', b'"w"x'])
def test_a_stray_quote_becomes_part_of_no_name(run: Run, database: psycopg.Connection, wallet: bytes) -> None:
    outcome = run(HEADER + LINE + b"2," + wallet + b",1.00,2026-02-01T10:15:00Z\n3" + LINE[1:], M)
    assert outcome.account == (3, 2, 0, 0, 1)
    assert outcome.rejects[0][0] == 3
    assert "quote" in outcome.rejects[0][1]


TWO_SIGNS = HEADER + b"1,w,-10,2026-02-01T10:15:00Z\n2,w,10,2026-02-01T10:15:00Z\n"
ABSOLUTE = '{ column = "amount", sign = "absolute" }'


def test_signs_that_are_left_out_under_one_type_are_warned_about(run: Run) -> None:
    (warning,) = run(TWO_SIGNS, mapped(amount=ABSOLUTE)).report.warnings
    assert warning.startswith('amount: sign = "absolute" makes 1 amount below zero and 1 other alike')


def test_a_type_is_mapped_from_the_sign(run: Run, database: psycopg.Connection) -> None:
    mapping = mapped(amount=ABSOLUTE, type='{ sign_of = "amount", map = { "+" = "deposit", "-" = "withdraw" } }')
    assert run(TWO_SIGNS, mapping).report.warnings == ()
    assert amounts(database) == [("deposit", Decimal(10)), ("withdraw", Decimal(10))]


def test_a_row_whose_month_can_get_no_partition_is_rejected_and_the_rest_is_loaded(
    run: Run, settings: Settings, database: psycopg.Connection
) -> None:
    with connect(settings.database_dsn, "test") as connection:
        prepare_table(connection, settings, settings.table("transactions"))
    database.execute("CREATE TABLE transactions_2026_03 (in_the_way text)")
    database.execute(
        "CREATE TABLE quarter PARTITION OF transactions_partitioned"
        " FOR VALUES FROM ('2025-01-15 00:00+00') TO ('2025-02-15 00:00+00')"
    )
    times = ["2026-02-01", "2026-03-01", "2026-04-01", "2025-01-02", "2025-05-01"]
    lines = [f"{number},w,1.00,{time}T10:15:00Z\n".encode() for number, time in enumerate(times)]
    outcome = run(HEADER + b"".join(lines), M)
    assert outcome.account == (5, 3, 0, 0, 2)
    assert [(line, reason[:35], field) for line, reason, field, _ in outcome.rejects] == [
        (3, "month 2026-03 can get no partition:", "created_at"),
        (5, "month 2025-01 can get no partition:", "created_at"),
    ]


def test_a_month_whose_partition_is_gone_takes_no_row_and_stops_no_other(
    run: Run, database: psycopg.Connection
) -> None:
    run(HEADER + LINE, M)
    database.execute("DROP TABLE transactions_2026_02")
    outcome = run(HEADER + b"2,w,1.00,2026-02-01T10:15:00Z\n3,w,1.00,2026-03-01T10:15:00Z\n", M)
    assert outcome.account == (2, 1, 0, 0, 1)
    assert outcome.rejects[0][1].startswith("month 2026-02 has no partition: ")


@pytest.mark.parametrize(
    ("currency", "year", "taken"),
    [
        ("HRK", 2016, True),
        ("ZWL", 2020, True),
        ("SLL", 2022, True),
        ("LTL", 2014, True),
        ("DEM", 1999, True),
        ("HRK", 2024, False),
        ("LTL", 2016, False),
        ("ZWL", 2005, False),
        ("XXX", 2016, False),
    ],
)
def test_a_currency_that_ended_is_taken_for_its_time(run: Run, currency: str, year: int, taken: bool) -> None:
    outcome = run(HEADER + f"1,w,1.00,{year}-02-01T10:15:00Z\n".encode(), M.replace("ZAR", currency))
    assert outcome.account == (1, int(taken), 0, 0, int(not taken))
    assert [field for _, _, field, _ in outcome.rejects] == ([] if taken else ["currency"])


def test_rejects_go_into_a_folder_or_beside_the_file_or_here(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    assert (
        run(HEADER + LINE, M, rejects=tmp_path / "there").report.rejects
        == tmp_path / "there" / "history.csv.rejects.csv"
    )
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.setattr("tasks.importing.rejects.os.access", lambda *_: False)
    assert run(HEADER + LINE, M).report.rejects.resolve() == tmp_path / "there" / "history.csv.rejects.csv"


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "iso-8859-15", "cp437", "windows-1251"])
@pytest.mark.parametrize("content", ["Zoë", "\N{EURO SIGN}1", "日本", "\ufeff"])
def test_a_file_in_utf_8_is_read_in_no_other_encoding(run: Run, encoding: str, content: str) -> None:
    mapping = M.replace("[fields]", f'[file]\nencoding = "{encoding}"\n[fields]')
    mark, wallet = ("\ufeff", "w") if content == "\ufeff" else ("", content)
    lines = f"{mark}note,id,wallet,amount,at\nx,1,{wallet},1.00,2026-02-01T10:15:00Z\n".encode()
    for packed in (lines, gzip.compress(lines)):
        with pytest.raises(DataError, match=r"is UTF-8, and by file\.encoding of the mapping it is \w"):
            run(packed, mapping)


@pytest.mark.parametrize(
    ("encoding", "wallet"),
    [("iso-8859-1", "Zoë"), ("windows-1252", "Ãx"), ("windows-1251", "Вёсна"), ("gbk", "联通"), ("shift_jis", "日本")],
)
def test_a_file_in_another_encoding_is_read(run: Run, database: psycopg.Connection, encoding: str, wallet: str) -> None:
    mapping = M.replace("[fields]", f'[file]\nencoding = "{encoding}"\n[fields]')
    assert run((HEADER + LINE).decode().replace(",w,", f",{wallet},").encode(encoding), mapping).account[:2] == (1, 1)
    assert database.execute("SELECT wallet_id FROM transactions").fetchall() == [(wallet,)]


JAVA, JAVASCRIPT = ["1.23456789012345E14", "1.2345678E7"], ["1.2345678901234568e+17", "9e+21"]  # pandas and R, too
REMAINS = [
    *JAVA,
    *JAVASCRIPT,
    *("1.23457E+14", "1,23E+11", "9E+15", "#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "########"),
]


@pytest.mark.parametrize("remains", REMAINS)
def test_what_a_spreadsheet_made_of_a_key_or_a_name_is_rejected(run: Run, remains: str) -> None:
    """Two keys of fifteen digits are one shortened number: the second payment would be known, and lost."""
    lines = [f'"{remains}",w,1.00', f'"{remains}",w,1.00', f'3,"{remains}",1.00', "4,w,1.00"]
    outcome = run(HEADER + "".join(f"{line},2026-02-01T10:15:00Z\n" for line in lines).encode(), M)
    assert outcome.account == (4, 1, 0, 0, 3)
    assert [(line, field) for line, _, field, _ in outcome.rejects] == [(2, "id"), (3, "id"), (4, "user_id")]
    assert all("spreadsheet" in reason for _, reason, _, _ in outcome.rejects)


@pytest.mark.parametrize("name", ["1E5", "1.5E5", "E+10", "12.5E+14", "#1", "1.5e+14x", "N/A", "9e15"])
def test_names_that_only_look_like_it_are_names(run: Run, database: psycopg.Connection, name: str) -> None:
    assert run(HEADER + f"{name},{name},1.00,2026-02-01T10:15:00Z\n".encode(), M).account[:2] == (1, 1)


@pytest.mark.parametrize("remains", REMAINS)
def test_what_a_spreadsheet_made_of_a_part_of_a_name_is_rejected(run: Run, remains: str) -> None:
    """All accounts that share five digits would be one wallet."""
    mapping = mapped(
        wallet_id='{ template = "0800/{wallet}" }',
        user_id='{ constant = "u" }',
        description='{ template = "{id} of {wallet}" }',
    )
    lines = f'1,"{remains}",1.00,2026-02-01T10:15:00Z\n2,w,1.00,2026-02-01T10:15:00Z\n'
    outcome = run(HEADER + lines.encode(), mapping)
    assert outcome.account == (2, 1, 0, 0, 1)
    assert outcome.rejects[0][2] == "wallet_id"
    free = mapped(description='{ template = "{id} of {note}" }')
    assert run(NOTED + f'3,w,1.00,2026-02-01T10:15:00Z,"{remains}"\n'.encode(), free).account == (1, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        ("unix", "1769904000", "2026-02-01 00:00:00"),
        ("unix", "46054", None),  # a spreadsheet's number of days
        ("unix", "1769904000000", None),
        ("unix_ms", "1769904000000", "2026-02-01 00:00:00"),
        ("unix_ms", "1769904000", None),
        ("unix_ms", "1769904000000000", None),
    ],
)
def test_seconds_are_not_milliseconds_nor_days(
    run: Run, database: psycopg.Connection, format_: str, text: str, expected: str | None
) -> None:
    mapping = mapped(created_at=f'{{ column = "at", format = "{format_}" }}')
    outcome = run(HEADER + f"1,w,1.00,{text}\n".encode(), mapping)
    found = database.execute("SELECT (created_at AT TIME ZONE 'UTC')::text FROM transactions").fetchall()
    assert found == ([(expected,)] if expected else [])
    assert [field for _, _, field, _ in outcome.rejects] == ([] if expected else ["created_at"])


@pytest.mark.parametrize("offset", ["+02:60", "+0299", "-25:00", "+24:00"])
def test_an_offset_that_no_clock_has_is_rejected(run: Run, offset: str) -> None:
    mapping = mapped(created_at='{ column = "at", format = "%Y-%m-%dT%H:%M:%S%z" }')
    assert run(HEADER + f"1,w,1.00,2026-02-01T10:15:00{offset}\n".encode(), mapping).rejects[0][2] == "created_at"


@pytest.mark.parametrize("format_", ["%Y%-m%-d", "%-d%-m%Y", "%Y-%m-%d %-H%M", "%y%-m%d", "%-I%p %Y%-m-%d"])
def test_a_format_that_reads_one_text_as_two_days_is_refused(run: Run, format_: str) -> None:
    with pytest.raises(ConfigError, match=r"fields\.created_at\.format: .*must have a mark beside"):
        run(HEADER + LINE, mapped(created_at=f'{{ column = "at", format = "{format_}" }}'))


def test_signs_that_are_left_out_within_one_column_are_warned_about(run: Run, database: psycopg.Connection) -> None:
    """A credit of -5 is taken back. It would be a deposit of 5."""
    mapping = mapped(**CREDIT_DEBIT | {"amount": '{ first_of = ["credit", "debit"], sign = "absolute" }'})
    head = b"id,wallet,credit,debit,at\n"
    lines = [b"5,", b",-7", b",-9"]
    usual = [b"%d,w,%s,2026-02-01T10:15:00Z\n" % (number, line) for number, line in enumerate(lines)]
    assert run(head + b"".join(usual), mapping).report.warnings == ()
    (warning,) = run(head + b"".join(usual) + b"9,w,-5,,2026-02-01T10:15:00Z\n", mapping).report.warnings
    assert warning.startswith("amount: ")
    assert "makes 1 amount below zero and 1 other of column credit alike" in warning


def test_a_fee_that_was_paid_back_is_warned_about(run: Run) -> None:
    mapping = mapped(type='{ column = "kind" }', fee='{ column = "fee", sign = "absolute" }')
    lines = b"1,w,1.00,2026-02-01T10:15:00Z,payment,-0.10\n2,w,1.00,2026-02-01T10:15:00Z,refund,0.10\n"
    (warning,) = run(HEADER.replace(b"\n", b",kind,fee\n") + lines, mapping).report.warnings
    assert warning == (
        'fee: sign = "absolute" makes 1 amount below zero and 1 other alike, and nothing in the row distinguishes them'
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["completed"]),
        (', empty = "absent"', ["completed"]),
        (', map = { OK = "completed", completed = "completed" }', ["completed"]),
        (', map = { completed = "completed", "" = "failed" }', ["completed", "failed"]),
        (', default = "pending"', ["completed", "pending"]),
    ],
)
def test_a_row_is_not_pending_because_its_status_is_empty(
    run: Run, database: psycopg.Connection, options: str, expected: list[str]
) -> None:
    """Its month would be held back from every move until somebody ends the row."""
    lines = b"1,w,1.00,2026-02-01T10:15:00Z,completed\n2,w,1.00,2026-02-01T10:15:00Z, \n"
    mapping = mapped(status=f'{{ column = "state"{options} }}')
    outcome = run(HEADER.replace(b"\n", b",state\n") + lines, mapping)
    assert database.execute("SELECT status FROM transactions ORDER BY 1").fetchall() == [(one,) for one in expected]
    assert [reject[:3] for reject in outcome.rejects] == [(3, "is empty", "status")] * (2 - len(expected))


FIRST_OF = '{ first_of = ["credit", "debit"] }'
BY_SIGN = '{ sign_of = "amount", map = { "+" = "deposit", "-" = "withdraw" } }'
TWO_COLUMNS = b"id,wallet,credit,debit,at,kind\n1,w,10,,2026-02-01T10:15:00Z,fee\n2,w,,%s10,2026-02-01T10:15:00Z,fee\n"


@pytest.mark.parametrize(
    ("fields", "debit"),
    [
        ({"amount": FIRST_OF}, b""),
        ({"amount": FIRST_OF.replace("]", '], sign = "absolute"')}, b""),
        ({"amount": FIRST_OF, "type": BY_SIGN}, b""),
        ({"amount": FIRST_OF.replace("]", '], sign = "absolute"'), "type": BY_SIGN}, b"+"),
    ],
    ids=["as they are", "without signs", "by their sign", "by their sign, without"],
)
def test_a_credit_and_a_debit_that_become_alike_are_warned_about(
    run: Run, fields: dict[str, str], debit: bytes
) -> None:
    """They would be 20 of one type."""
    (warning,) = run(TWO_COLUMNS % debit, mapped(**fields)).report.warnings
    assert warning == (
        "amount: 1 amount of column credit and 1 amount of column debit are alike, and nothing in the row"
        ' distinguishes them; map type from { column_of = "amount" }'
    )


@pytest.mark.parametrize(
    ("fields", "debit"),
    [
        (CREDIT_DEBIT, b""),
        ({"amount": FIRST_OF, "type": '{ column = "kind" }'}, b""),
        ({"amount": FIRST_OF.replace("]", '], sign = "absolute"'), "type": BY_SIGN}, b"-"),
    ],
    ids=["by their column", "by a column of the type", "by their sign"],
)
def test_a_credit_and_a_debit_that_differ_are_not_warned_about(run: Run, fields: dict[str, str], debit: bytes) -> None:
    assert run(TWO_COLUMNS % debit, mapped(**fields)).report.warnings == ()


def test_fees_of_two_columns_that_become_alike_are_warned_about(run: Run) -> None:
    mapping = mapped(amount='{ constant = "1.00" }', fee=FIRST_OF)
    (warning,) = run(TWO_COLUMNS % b"", mapping).report.warnings
    assert warning.startswith("fee: 1 amount of column credit and 1 amount of column debit are alike")
    assert "map type" not in warning


CURRENCIES = (
    HEADER
    + "".join(
        f"{number},w,{text},2026-02-01T10:15:00Z\n"
        for number, text in enumerate(["USD 1.00", "$ 2.00", "€ 3.00", "4.00"])
    ).encode()
)
SYMBOLS = '{ column = "amount", symbols = ["USD", "$", "€"] }'


def currencies(database: psycopg.Connection) -> list[tuple[str, Decimal]]:
    return database.execute("SELECT currency, amount FROM transactions ORDER BY amount").fetchall()


def test_an_amount_in_another_currency_is_rejected_and_symbols_that_become_alike_are_warned_about(
    run: Run, database: psycopg.Connection
) -> None:
    outcome = run(CURRENCIES, mapped(amount=SYMBOLS))
    assert [reject[:3] for reject in outcome.rejects] == [(2, "is in USD, and the row's currency is ZAR", "amount")]
    assert currencies(database) == [("ZAR", Decimal(2)), ("ZAR", Decimal(3)), ("ZAR", Decimal(4))]
    assert outcome.report.warnings == (
        'amount: amounts with $ and with € are all in ZAR; map currency from { symbol_of = "amount" }',
    )


def test_a_currency_is_mapped_from_the_symbol(run: Run, database: psycopg.Connection) -> None:
    by_symbol = mapped(
        amount=SYMBOLS, currency='{ symbol_of = "amount", map = { USD = "USD", "$" = "USD", "" = "ZAR" } }'
    )
    outcome = run(CURRENCIES, by_symbol)
    assert [reject[:3] for reject in outcome.rejects] == [(4, "has no entry in the mapping for '€'", "currency")]
    assert currencies(database) == [("USD", Decimal(1)), ("USD", Decimal(2)), ("ZAR", Decimal(4))]
    assert outcome.report.warnings == ()
    contradictory = run(CURRENCIES.replace(b"USD 1", b"USD 5"), by_symbol.replace('USD = "USD"', 'USD = "EUR"'))
    assert contradictory.rejects[0][1] == "is in USD, and the row's currency is EUR"


def test_a_symbol_is_that_of_a_money_field_with_symbols(run: Run) -> None:
    message = r"currency\.symbol_of: amount is not a money field of the mapping with symbols"
    with pytest.raises(ConfigError, match=message):
        run(HEADER + LINE, mapped(currency='{ symbol_of = "amount" }'))


@pytest.mark.parametrize(("end", "is_cut"), [("", True), ("\n", False), ("\r\n", False), ("\r", False)])
def test_a_last_line_without_an_end_is_read_and_warned_about(run: Run, end: str, is_cut: bool) -> None:
    """Of 1250.00 the file may have 12."""
    content = f"id,wallet,at,amount\n1,w,2026-02-01T10:15:00Z,20.00\n2,w,2026-02-01T10:15:00Z,12{end}".encode()
    for number, packed in enumerate((content, gzip.compress(content))):
        outcome = run(packed, M.replace('name = "m"', f'name = "m{number}"'))
        assert outcome.account == (2, 2, 0, 0, 0)
        assert outcome.report.warnings == (
            ("the last line has no line end: the file may be cut off",) if is_cut else ()
        )


def tar(content: bytes) -> bytes:
    file, member = io.BytesIO(), tarfile.TarInfo("bank.csv")
    member.size = len(content)
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


OTHER_KINDS = {
    "a tar archive": tar(HEADER + LINE),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c" + LINE,
    "a RAR archive": b"Rar!\x1a\x07\x01\x00" + LINE,
    "an empty ZIP archive": b"PK\x05\x06" + bytes(18),
    "compressed with compress": b"\x1f\x9d\x90" + LINE,
    "compressed with lz4": b"\x04\x22\x4d\x18" + LINE,
    "encrypted with PGP": b"-----BEGIN PGP MESSAGE-----\n\n" + LINE,
    "a web page or an XML document": b"\xef\xbb\xbf\n <!DOCTYPE HTML>\n<table>" + LINE,
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_is_no_text_in_lines_is_refused_by_name(run: Run, kind: str) -> None:
    """Without a header its first record alone would be rejected, and the others loaded."""
    mapping = M.replace("[fields]", '[file]\ncolumns = ["id", "wallet", "amount", "at"]\n[fields]')
    for packed in (OTHER_KINDS[kind], gzip.compress(OTHER_KINDS[kind])):
        with pytest.raises(DataError, match=f"is {kind}: .*; nothing was loaded"):
            run(packed, mapping)


def test_a_file_that_is_compressed_twice_is_refused_by_name(run: Run) -> None:
    with pytest.raises(DataError, match="is compressed with gzip twice: decompress it once; nothing was loaded"):
        run(gzip.compress(gzip.compress(HEADER + LINE)), M)


def test_only_line_ends_end_the_lines_inside_quotes(run: Run) -> None:
    allowed = M.replace("[fields]", '[file]\nline_breaks = ["note"]\n[fields]')
    lines = '1,w,1.00,2026-02-01T10:15:00Z,"two\nlines, of\u2028a,b,c,d,text\u0085"\n'
    assert run(NOTED + lines.encode(), allowed).account == (1, 1, 0, 0, 0)
