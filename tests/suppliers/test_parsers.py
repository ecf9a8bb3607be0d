"""The three strict parsers: what they make of a good file, and that a bad one is refused by file, line and field."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from suppliers.statement import STATEMENT_SCHEMA, StatementError
from tests.tasks.statements.samples import (
    CARD,
    DAY,
    FLASH,
    FLASH_LINE,
    FLASH_NAME,
    MOBILEMART,
    MOBILEMART_LINE,
    MOBILEMART_NAME,
    NAMES,
    PEACH,
    PEACH_RECORD,
    TEXTS,
    parse,
)


def line(supplier: str, **changes: Any) -> dict[str, Any]:
    (only,) = parse(supplier, TEXTS[supplier], **changes).table.to_pylist()
    return dict(only)


@pytest.mark.parametrize("supplier", TEXTS)
def test_a_good_file_becomes_the_canonical_table(supplier: str) -> None:
    parsed = parse(supplier, TEXTS[supplier])
    assert parsed.table.schema.equals(STATEMENT_SCHEMA)
    assert (parsed.supplier, parsed.day, parsed.name) == (supplier, DAY, NAMES[supplier])
    parsed.table.validate(full=True)


def test_flash_money_is_exact_and_its_time_is_johannesburgs() -> None:
    found = line("flash")
    money = [found[name] for name in ("amount", "fee", "commission", "net")]
    assert money == [Decimal("150.00"), Decimal(0), Decimal("4.5"), Decimal("145.5")]
    assert found["occurred_at"] == datetime(2026, 2, 3, 7, 15, tzinfo=UTC)
    assert (found["line_no"], found["reference"], found["raw_status"]) == (2, "ORD-1001", "Success")


def test_mobilemart_cents_become_rand_and_seconds_stay() -> None:
    found = line("mobilemart")
    assert (found["amount"], found["vas_type"]) == (Decimal("15.00"), "airtime")
    assert found["occurred_at"] == datetime(2026, 2, 3, 7, 15, 1, tzinfo=UTC)


def test_peach_unknown_fields_are_ignored_and_its_amount_may_be_a_number() -> None:
    as_number = parse("peach", PEACH.replace('"250.00"', "250.00")).table
    assert as_number.equals(parse("peach", PEACH).table)
    assert line("peach")["occurred_at"] == datetime(2026, 2, 3, 7, 15, 1, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("10.5", "10.50"),
        ("10.0", "10.00"),
        ("10", "10.00"),
        ("10.50", "10.50"),
        ("10.500", "10.50"),
        ("-10.5", "-10.50"),
        ("0.1", "0.10"),
        ("0.07", "0.07"),
        ("99999999.99", "99999999.99"),
        ('"10.5"', "10.50"),
        ('"10.0"', "10.00"),
        ('"10"', "10.00"),
        ('"-0.5"', "-0.50"),
    ],
)
def test_peach_s_amounts_are_exact_with_any_number_of_places(written: str, amount: str) -> None:
    record = PEACH_RECORD.replace('"250.00"', written)
    other = SECOND.replace("PEACH0402202600", "PEACH0402202601")
    found = parse("peach", f"[{other},{record}]").table["amount"].to_pylist()
    assert found[1] == Decimal(amount)
    assert found[1].as_tuple().exponent == -2


@pytest.mark.parametrize(
    "written",
    [
        *("10.505", "10.001", "1e1", "1.05e1", "1050e-2", "1e400", "100000000", "-0", "-0.0", "-0.000"),
        *('"1.05e1"', '"10."', '".5"', '"+1"', '" 1"', '"1 "', '"1,50"', '""', '"NaN"', '"010"'),
        *("true", "null", "[1]", "01", "1.", "NaN"),
    ],
)
def test_peach_s_amounts_that_are_not_whole_cents_are_refused_by_line(written: str) -> None:
    record = PEACH_RECORD.replace('"250.00"', written)
    other = SECOND.replace("PEACH0402202600", "PEACH0402202601")
    with pytest.raises(
        StatementError, match=r"line (2: amount: must be money with at most two decimal places|1: is not)"
    ):
        parse("peach", f"[{other},{record}]")


def test_the_card_number_of_a_mobilemart_line_is_in_no_table_and_in_no_error() -> None:
    assert CARD in MOBILEMART
    parsed = parse("mobilemart", MOBILEMART)
    assert CARD not in str(parsed.table.to_pylist()) + str(parsed.totals) + str(parsed.table.schema.metadata)
    for broken in (
        MOBILEMART.replace("|1500|", f"|{CARD}|x"),
        MOBILEMART.replace("|Airtime|", f"|{CARD}|"),
        MOBILEMART.replace(CARD, f"{CARD}|{CARD}"),
        MOBILEMART.replace("\nT|3", f"\n{CARD}\nT|4"),
        MOBILEMART.replace("T|3", f"T|{CARD}"),
        MOBILEMART.replace("Successful", CARD),
        MOBILEMART.replace("20260203|09", f"{CARD}|09"),
        MOBILEMART.replace("H|1", f"H|{CARD}"),
    ):
        with pytest.raises(StatementError) as refused:
            parse("mobilemart", broken)
        assert CARD not in str(refused.value)


@pytest.mark.parametrize(
    ("supplier", "whole", "shown"),
    [("flash", "0000-1111-2222-3333", "***3333"), ("mobilemart", "0830012300", "***2300")],
)
def test_only_the_last_four_characters_of_an_account_are_kept(supplier: str, whole: str, shown: str) -> None:
    found = line(supplier)
    assert found["account"] == shown
    assert whole not in str(found)


def test_a_short_account_is_hidden_whole_and_a_meter_comes_before_the_telephone() -> None:
    assert parse("mobilemart", MOBILEMART.replace("0830012300", "083001")).table["account"].to_pylist() == ["***"]
    meter = MOBILEMART.replace("|0830012300|||", "|0830012300||01234567890|")
    assert parse("mobilemart", meter).table["account"].to_pylist() == ["***7890"]


def test_the_account_name_and_the_metadata_of_flash_are_dropped() -> None:
    assert not {"Demo", "storeID"} & {word for word in ("Demo", "storeID") if word in str(line("flash"))}


@pytest.mark.parametrize("made", ["20260203235959", "20260204001259", "20260203133000"])
def test_a_name_with_minutes_that_are_no_month_is_read(made: str) -> None:
    assert parse("mobilemart", MOBILEMART, f"FULCRUM.MERCHANT.DEMO.RECON.{made}.txt").day == DAY


def test_minutes_are_minutes_and_not_the_month() -> None:
    late = parse("mobilemart", MOBILEMART.replace("|091501|", "|094701|"))
    assert late.table["occurred_at"].to_pylist() == [datetime(2026, 2, 3, 7, 47, 1, tzinfo=UTC)]


def test_the_servers_timezone_takes_no_part() -> None:
    code = (
        "from tests.tasks.statements.samples import *\n"
        "print([str(parse(one, TEXTS[one]).table['occurred_at'].cast('int64').to_pylist()) for one in TEXTS])"
    )
    found = {
        zone: subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True
        ).stdout
        for zone in ("Asia/Kathmandu", "UTC")
    }
    assert found["Asia/Kathmandu"] == found["UTC"]
    assert "1770102900000" in found["UTC"]


@pytest.mark.parametrize("supplier", ["flash", "mobilemart"])
def test_lines_may_end_in_crlf_and_a_byte_order_mark_may_come_first(supplier: str) -> None:
    plain = parse(supplier, TEXTS[supplier])
    marked = parse(supplier, b"\xef\xbb\xbf" + TEXTS[supplier].replace("\n", "\r\n").encode())
    assert marked.table.equals(plain.table)
    assert marked.sha256 != plain.sha256


def test_a_day_without_sales_is_an_empty_statement() -> None:
    for supplier, text in {
        "flash": FLASH.split("\n", maxsplit=1)[0] + "\n",
        "mobilemart": "H|1|20260203\nT|2\n",
        "peach": "[]",
    }.items():
        parsed = parse(supplier, text)
        assert (parsed.table.num_rows, parsed.totals) == (0, [])


def test_peach_may_wrap_its_list_and_call_its_fields_otherwise() -> None:
    plain = parse("peach", PEACH).table
    assert parse("peach", f'{{"page":1,"transactions":{PEACH}}}').table.equals(plain)
    other = PEACH.replace('"timestamp"', '"createdAt"')
    assert parse("peach", other, statement_fields={"occurred_at": "createdAt"}).table.equals(plain)


def test_the_sign_of_flashs_fee_is_a_setting() -> None:
    deducted = FLASH.replace("0.0000;4.5000;145.5000", "2.0000;4.5000;143.5000")
    added = FLASH.replace("0.0000;4.5000;145.5000", "2.0000;4.5000;147.5000")
    assert parse("flash", deducted).table["net"].to_pylist() == [Decimal("143.5")]
    assert parse("flash", added, statement_fee="added").table["net"].to_pylist() == [Decimal("147.5")]
    with pytest.raises(StatementError, match=r"line 2: Net Amount: must be gross - commission - fee"):
        parse("flash", added)


TWO_SALES = FLASH + FLASH_LINE + "\n"
FLASH_BAD = {
    "no header": (FLASH_LINE + "\n", "line 1: is not the header"),
    "another header": (FLASH.replace("Gross", "Net"), "line 1: is not the header"),
    "a column too few": (FLASH.replace("Demo;", ""), "line 2: must have 14 fields"),
    "a column too many": (FLASH.replace("Demo;", "Demo;;"), "line 2: must have 14 fields"),
    "a quote that is not closed": (FLASH.replace('""}"', '""}'), "line 2: must have 14 fields"),
    "a quote within a field": (FLASH.replace("Demo", 'De"mo'), "line 2: must have 14 fields"),
    "cut off in its last line": (FLASH[:-1], "line 2: does not end with a line end"),
    "cut off after a field": (FLASH[:-40] + "\n", "line 2: must have 14 fields"),
    "empty": ("", "is empty"),
    "a blank line": (FLASH + "\n", "line 3: is blank"),
    "NUL": (FLASH.replace("Demo", "De\0mo"), "line 2: holds a control character"),
    "a tab": (FLASH.replace("Demo", "De\tmo"), "line 2: holds a control character"),
    "mixed line ends": (FLASH.replace("\n", "\r\n", 1), "line 2: lines must all end"),
    "a lone CR": (FLASH.replace("Demo", "De\rmo"), "line 2: lines must all end"),
    "a byte order mark inside": (FLASH.replace("311", "\ufeff311"), "line 2: Product Code: has not the form"),
    "another day": (FLASH.replace("02/03 ", "02/04 "), "line 2: Date: is of another day"),
    "a day that there is not": (FLASH.replace("02/03 ", "02/30 "), "line 2: Date: is not a day of the calendar"),
    "a date of another form": (FLASH.replace("2026/02/03 ", "03/02/2026 "), "line 2: Date: must be a date"),
    "an hour that there is not": (FLASH.replace("09:15", "24:15"), "line 2: Date: is not a time of day"),
    "a minute that there is not": (FLASH.replace("09:15", "09:60"), "line 2: Date: is not a time of day"),
    "a status nobody knows": (FLASH.replace("Success", "success"), "line 2: Status: must be one of"),
    "a type nobody knows": (FLASH.replace("Purchase", "Sale"), "line 2: Transaction Type: must be one of"),
    "no reference": (FLASH.replace("ORD-1001", ""), "line 2: Reference: must not be empty"),
    "a reference with a blank": (FLASH.replace("ORD-1001", "ORD 1001"), "line 2: Reference: has not the form"),
    "no identifier": (FLASH.replace("700000123", ""), "line 2: Transaction ID: must not be empty"),
    "an identifier twice": (TWO_SALES, "line 3: Transaction ID: appears more than once"),
    "a part of a cent": (FLASH.replace("150.0000", "150.0010"), "line 2: Gross Amount: must have no part of a cent"),
    "net that does not add up": (FLASH.replace("145.5000", "145.5001"), "line 2: Net Amount: must be gross"),
    "a purchase below nothing": (
        FLASH.replace("150.0000", "-150.0000").replace("145.5000", "-154.5000"),
        "line 2: Gross Amount: must be 0 or more",
    ),
}
NO_MONEY = ("1,500.0000", "1.5E2", "NaN", "Infinity", "150", "150.00", "+150.0000", "0150.0000", " 150.0000", "-0.0000",
            "150.00000", "", "R150.0000", "\u0661\u0665\u0660.0000", "150000000000000.0000", "1 500.0000")  # fmt: skip


@pytest.mark.parametrize("case", FLASH_BAD)
def test_a_bad_flash_file_is_refused_by_line_and_field(case: str) -> None:
    text, named = FLASH_BAD[case]
    with pytest.raises(StatementError, match=rf"recon_20260203\.csv: {named}"):
        parse("flash", text)


@pytest.mark.parametrize("written", NO_MONEY)
def test_what_is_not_money_is_refused(written: str) -> None:
    with pytest.raises(StatementError, match="line 2: Gross Amount: must be money"):
        parse("flash", FLASH.replace("150.0000", written))


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(StatementError, match="line 2: is not UTF-8"):
        parse("flash", FLASH.replace("Demo", "Dém").encode("latin-1"))


FULCRUM_BAD = {
    "a count without header and footer": (MOBILEMART.replace("T|3", "T|1"), "line 3: count: the file has 3 lines"),
    "a count too many": (MOBILEMART.replace("T|3", "T|4"), "line 3: count: the file has 3 lines"),
    "no footer": (MOBILEMART.replace("T|3\n", ""), "line 2: must be T.count"),
    "cut off in its footer": (MOBILEMART[:-1], "does not end with a line end"),
    "another version": (MOBILEMART.replace("H|1|", "H|2|"), "line 1: version: must be 1"),
    "no header": (MOBILEMART.replace("H|1|20260203\n", "").replace("T|3", "T|2"), "line 1: must be H"),
    "a header day that there is not": (
        MOBILEMART.replace("H|1|20260203", "H|1|20260230"),
        "line 1: header date: is not a day",
    ),
    "a line of another day": (MOBILEMART.replace("|20260203|", "|20260202|"), "line 2: date: is of another day"),
    "a line's day that there is not": (MOBILEMART.replace("|20260203|", "|20260231|"), "line 2: date: is not a day"),
    "an hour that there is not": (MOBILEMART.replace("091501", "250000"), "line 2: time: is not a time of day"),
    "a second that there is not": (MOBILEMART.replace("091501", "091560"), "line 2: time: is not a time of day"),
    "a time without seconds": (MOBILEMART.replace("091501", "0915"), "line 2: time: must be HHMMSS"),
    "a decimal amount": (MOBILEMART.replace("|1500|", "|15.00|"), "line 2: amount: must be whole cents"),
    "a negative purchase": (MOBILEMART.replace("|1500|", "|-1500|"), "line 2: amount: must be 0 or more"),
    "a status nobody knows": (MOBILEMART.replace("Successful", "Pending"), "line 2: txnStatus: must be one of"),
    "a service nobody knows": (MOBILEMART.replace("Airtime", "Lotto"), "line 2: vasType: must be one of"),
    "a field too many": (MOBILEMART.replace("MTN R15", "MTN|R15"), "line 2: must have 24 fields"),
    "a line of another kind": (MOBILEMART.replace("D|Air", "X|Air"), "line 2: must be a line D"),
    "a second footer": (MOBILEMART.replace("T|3", "T|3\nT|4"), "line 3: must be a line D"),
    "a blank line": (MOBILEMART.replace("T|3", "\nT|4"), "line 3: is blank"),
    "an identifier twice": (
        MOBILEMART.replace("T|3", f"{MOBILEMART_LINE}\nT|4"),
        "line 3: fulcrumTxnId: appears more than once",
    ),
}


@pytest.mark.parametrize("case", FULCRUM_BAD)
def test_a_bad_mobilemart_file_is_refused_by_line_and_field(case: str) -> None:
    text, named = FULCRUM_BAD[case]
    with pytest.raises(StatementError, match=named):
        parse("mobilemart", text)


def test_a_quote_in_a_mobilemart_field_is_a_character_like_any_other() -> None:
    quoted = parse("mobilemart", MOBILEMART.replace("MTN R15", '"MTN R15'))
    assert quoted.table["product_name"].to_pylist() == ['"MTN R15']


SECOND = PEACH_RECORD.replace("cdef0123456789abcdef", "cdef0123456789abcde0")
SETTLEMENT = '"settlementReference":"PEACH0402202600"'
PENDING = PEACH_RECORD.replace("0123456789abcdef0123456789abcdef", "1" * 32).replace(
    f'"SETTLED",{SETTLEMENT}', '"PENDING"'
)
NO_SETTLEMENT = '"settlementReference":null'
TWICE = PEACH_RECORD.replace(SETTLEMENT, f"{SETTLEMENT},{SETTLEMENT}")
PEACH_BAD = {
    "no list": ("{}", "must hold a list called transactions"),
    "cut off": (PEACH[:-20], r"line 1: is not the JSON of a list .*, at byte [0-9]+$"),
    "further text": (PEACH + "x", "line 1: is not the JSON of a list"),
    "a record that breaks off, lines before": (
        f'[\n{PEACH_RECORD},\n{{"id":}}\n]',
        "line 3: is not the JSON of a list",
    ),
    "a field that is missing": (PEACH.replace('"currency"', '"money"'), "line 1: currency: must be there"),
    "a field of another type": (
        PEACH.replace('"currency": "ZAR"', '"currency": 7').replace('"currency":"ZAR"', '"currency":7'),
        "line 1: currency: must be a text",
    ),
    "a float amount": (PEACH.replace('"250.00"', "2.5e2"), "line 1: amount: must be money"),
    "an amount with three places": (PEACH.replace("250.00", "250.001"), "line 1: amount: must be money"),
    "an amount that is half quoted": (PEACH.replace('"250.00"', "null"), "line 1: amount: must be money"),
    "another currency": (PEACH.replace("ZAR", "USD"), "line 1: currency: must be ZAR"),
    "a status nobody knows": (PEACH.replace("SETTLED", "DONE"), "line 1: settlementStatus: must be one of"),
    "a settlement without its reference": (
        PEACH.replace('"PEACH0402202600"', "null"),
        "line 1: settlementReference: must not",
    ),
    "a short settlement reference": (PEACH.replace("PEACH0402202600", "PEACH"), "line 1: settlementReference: has not"),
    "another day": (
        PEACH.replace("02-03T09", "02-03T00").replace("+02:00", "+03:00"),
        "line 1: timestamp: is of another day",
    ),
    "a day that there is not": (PEACH.replace("2026-02-03T", "2026-02-30T"), "line 1: timestamp: is not a day"),
    "a time without an offset": (PEACH.replace("+02:00", ""), "line 1: timestamp: must be a date and time"),
    "an offset without its colon": (PEACH.replace("+02:00", "+0200"), "line 1: timestamp: must be a date and time"),
    "a name twice": (
        PEACH.replace('"currency"', '"amount":"1.00","currency"'),
        "line 1: has a name that appears twice",
    ),
    "a name twice, once escaped": (
        PEACH.replace('"currency"', '"\\u0061mount":"1.00","currency"'),
        "line 1: has a name",
    ),
    "a name twice that another record lacks": (
        f"[{PENDING},{TWICE}]",
        "line 2: has a name that appears twice",
    ),
    "a name twice that another record has without a value": (
        f"[{PENDING[:-1]},{NO_SETTLEMENT}{PENDING[-1]},{TWICE}]",
        "line 2: has a name that appears twice",
    ),
    "two lists of transactions": (
        f'{{"transactions":[{PENDING}],"transactions":[{PEACH_RECORD}]}}',
        "has a name that appears twice",
    ),
    "a list of transactions and none": (
        f'{{"transactions":{PEACH},"page":{{"a":1}},"transaction\\u0073":[]}}',
        "has a name that appears twice",
    ),
    "an identifier twice": (f"[{PEACH_RECORD},{PEACH_RECORD}]", "line 2: id: appears more"),
    "a settlement reference twice": (f"[{PEACH_RECORD},{SECOND}]", "line 2: settlementReference: appears more"),
}


def test_a_reference_that_some_records_lack_may_be_in_each_of_the_others_once() -> None:
    answer = f'{{"page":1,"transactions":[{PENDING},{PEACH_RECORD}],"pages":{{"page":1}}}}'
    assert parse("peach", answer).table["payout_reference"].to_pylist() == [None, "PEACH0402202600"]


def test_a_kind_twice_is_refused_where_another_record_has_none() -> None:
    words: dict[str, Any] = {
        "statement_fields": {"kind": "type"},
        "statement_kinds": {"PAYOUT": "payout", "X": "refund"},
    }
    twice = PEACH_RECORD.replace("{", '{"type":"PAYOUT","type":"X",', 1)
    with pytest.raises(StatementError, match="line 2: has a name that appears twice"):
        parse("peach", f"[{PENDING},{twice}]", **words)


@pytest.mark.parametrize("case", PEACH_BAD)
def test_a_bad_peach_answer_is_refused_by_record_and_field(case: str) -> None:
    text, named = PEACH_BAD[case]
    with pytest.raises(StatementError, match=named):
        parse("peach", text)


@pytest.mark.parametrize(
    ("supplier", "name"),
    [
        ("flash", "recon_20260230.csv"),
        ("flash", "recon_20260204.csv"),
        ("flash", "recon_2026-02-03.csv"),
        ("flash", f"x{FLASH_NAME}"),
        ("mobilemart", MOBILEMART_NAME.replace("DEMO", "OTHER")),
        ("mobilemart", MOBILEMART_NAME.replace("20260203235959", "20260203236059")),
        ("mobilemart", MOBILEMART_NAME.replace("20260203", "20260202")),
        ("peach", "transactions-recon-2026-02-30.json"),
        ("peach", "transactions-recon-2026-02-04.json"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(supplier: str, name: str) -> None:
    with pytest.raises(StatementError, match=r"name|day|called|statement"):
        parse(supplier, TEXTS[supplier], name)


PEACH_SHARED = PEACH_RECORD.replace("0123456789abcdef0123456789abcdef", "1" * 32)
PEACH_PAYOUT = PEACH_RECORD.replace("0123456789abcdef0123456789abcdef", "2" * 32).replace("250.00", "500.00")


def test_peach_s_entries_may_share_the_payout_that_they_were_paid_in() -> None:
    with pytest.raises(StatementError, match="settlementReference: appears more than once"):
        parse("peach", f"[{PEACH_RECORD},{PEACH_SHARED}]")
    table = parse("peach", f"[{PEACH_RECORD},{PEACH_SHARED}]", statement_settlements="shared").table
    assert table["payout_reference"].to_pylist() == ["PEACH0402202600"] * 2


def test_peach_s_payout_itself_is_an_entry_where_the_settings_say_what_it_is_called() -> None:
    payout = PEACH_PAYOUT.replace("{", '{"type":"PAYOUT",', 1)
    entry = PEACH_RECORD.replace("{", '{"type":null,', 1)
    words: dict[str, Any] = {"statement_fields": {"kind": "type"}, "statement_kinds": {"PAYOUT": "payout"}}
    table = parse("peach", f"[{entry},{payout}]", **words).table
    assert table["kind"].to_pylist() == ["purchase", "payout"]
    assert table["payout_reference"].to_pylist() == ["PEACH0402202600"] * 2
    with pytest.raises(StatementError, match="line 1: type: must be one of PAYOUT"):
        parse("peach", f"[{payout.replace('PAYOUT', 'FEE')}]", **words)


@pytest.mark.parametrize(
    ("supplier", "text", "word", "default", "other"),
    [
        ("flash", FLASH, "Purchase", ("Reference", "ORD-1001"), ("Transaction ID", "700000123")),
        (
            "mobilemart",
            MOBILEMART,
            "Purchase",
            ("merchantTxnId", "MM1001"),
            ("fulcrumTxnId", "0a1b2c3d-0000-4000-8000-000000000001"),
        ),
    ],
)
def test_a_payout_s_kind_and_reference_are_what_the_settings_say(
    supplier: str, text: str, word: str, default: tuple[str, str], other: tuple[str, str]
) -> None:
    settlement = text.replace(word, "Settlement")
    with pytest.raises(StatementError, match="must be one of Purchase, Refund, Reversal"):
        parse(supplier, settlement)
    kinds = {"Settlement": "payout"}
    for column, reference in (default, other):
        table = parse(supplier, settlement, statement_kinds=kinds, statement_payout=column).table
        assert (table["kind"][0].as_py(), table["payout_reference"][0].as_py()) == ("payout", reference)
    assert parse(supplier, text).table["payout_reference"].to_pylist() == [None]


def test_mobilemart_s_product_has_a_code_where_the_settings_name_one() -> None:
    assert parse("mobilemart", MOBILEMART).table["product_code"].to_pylist() == [None]
    for names, code in (({"MTN R15": "4711"}, "4711"), ({"MTN R29": "4712"}, None)):
        assert parse("mobilemart", MOBILEMART, statement_products=names).table["product_code"].to_pylist() == [code]
