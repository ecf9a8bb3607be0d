"""White space around a value: a text that is stored is judged as the API judges it, and not changed in silence."""

from typing import Any

import psycopg
import pytest

from ledger.errors import FieldError
from ledger.tables import TRANSACTIONS
from ledger.transactions import new_transaction
from tests.tasks.importing.conftest import Run
from tests.tasks.importing.test_identity import KEYLESS, count

COLUMNS = ("client_id", "user_id", "wallet_id", "counterparty_wallet_id", "type", "status", "currency", "reference")
FIELDS = dict.fromkeys(COLUMNS, "w-1") | {"type": "payment", "status": "completed", "currency": "ZAR", "amount": "1.00"}
MAPPING = """
name = "spaces"
table = "transactions"
key = ["reference"]

[fields]
created_at = { constant = "2026-02-01T10:15:00Z" }
""" + "".join(f'{name} = {{ column = "{name}" }}\n' for name in FIELDS)
STRIPPING = MAPPING.replace("[fields]", "[file]\nstrip = true\n[fields]")
SPACES = (" {}", "{} ", "\u00a0{}", "{}\u00a0", "\t{}", "\u2003{}", "{}\u3000")


def lines(*rows: dict[str, str]) -> bytes:
    texts = [",".join(row.values()) for row in rows]
    return "\n".join([",".join(rows[0]), *texts, ""]).encode()


def refusal(values: dict[str, Any]) -> tuple[str, str] | None:
    """The rule and the field that the ledger names, as an API answer with 422 does."""
    try:
        new_transaction(TRANSACTIONS, values)
    except FieldError as error:
        return error.rule, error.field
    return None


@pytest.mark.parametrize("field", [name for name in COLUMNS if name != "reference"])
def test_a_name_or_a_word_with_white_space_around_is_rejected_as_the_api_refuses_it(
    run: Run, database: psycopg.Connection, field: str
) -> None:
    texts = [spaces.format(FIELDS[field]) for spaces in SPACES]
    content = lines(*(FIELDS | {field: text, "reference": str(key)} for key, text in enumerate(texts)))
    outcome = run(content, MAPPING)
    assert outcome.account == (len(SPACES), 0, 0, 0, len(SPACES))
    expected = [refusal(FIELDS | {field: text}) for text in texts]
    assert [(reason, name) for _, reason, name, _ in outcome.rejects] == expected
    assert {name for _, _, name, _ in outcome.rejects} == {field}
    assert run(content, STRIPPING).account == (len(SPACES), len(SPACES), 0, 0, 0)
    assert set(database.execute(f"SELECT {field} FROM transactions").fetchall()) == {(FIELDS[field],)}


@pytest.mark.parametrize("text", [" r-1", "r-1 ", "\u00a0r-1"])
def test_a_reference_is_stored_as_the_file_has_it_as_by_the_api(
    run: Run, database: psycopg.Connection, text: str
) -> None:
    assert run(lines(FIELDS | {"reference": text}), MAPPING).account == (1, 1, 0, 0, 0)
    assert database.execute("SELECT reference FROM transactions").fetchall() == [(text,)]
    assert new_transaction(TRANSACTIONS, FIELDS | {"reference": text})["reference"] == text
    assert run(lines(FIELDS | {"reference": "r-1"}), MAPPING).account == (1, 0, 1, 0, 0)  # the key is trimmed


def test_white_space_around_numbers_times_metadata_quotes_and_what_is_looked_up_means_nothing(
    run: Run, database: psycopg.Connection
) -> None:
    mapping = (
        MAPPING.replace('{ constant = "2026-02-01T10:15:00Z" }', '{ column = "at", format = "%Y-%m-%d" }')
        .replace('status = { column = "status" }', 'status = { column = "status", map = { OK = "completed" } }')
        .replace('amount = { column = "amount" }', 'amount = { first_of = ["amount", "other"] }')
    )
    mapping += 'fee = { column = "fee" }\n[metadata]\nnote = { column = "note" }\n'
    padded = {"amount": " 1.00\u00a0", "fee": "\t0.10 ", "at": " 2026-02-03 ", "status": " OK ", "user_id": ' "u" '}
    content = lines(FIELDS | padded | {"other": " ", "note": " x "})
    assert run(content, mapping).account == (1, 1, 0, 0, 0)
    (row,) = database.execute("SELECT amount::text, fee::text, status, user_id, metadata->>'note' FROM transactions")
    assert row == ("1.00", "0.10", "completed", "u", "x")


def test_white_space_around_a_text_makes_no_other_row(run: Run, database: psycopg.Connection) -> None:
    """A file without a key, saved again with a blank behind each line or before it."""
    mapping = KEYLESS.replace("[fields]", 'identity = "values"\n[fields]') + 'description = { column = "text" }\n'
    first = "text,wallet,amount,at,end\n" + "".join(f"t{n},w,1.00,2026-02-01T10:15:00,\n" for n in (1, 2))
    assert run(first.encode(), mapping).account == (2, 2, 0, 0, 0)
    for spaces in (" t", "\u00a0t"):
        assert run(first.replace("\nt", f"\n{spaces}").encode(), mapping).account == (2, 0, 2, 0, 0)
    assert run(first.replace(",w", " ,w").encode(), mapping).account == (2, 0, 2, 0, 0)
    assert count(database) == 2


def test_what_a_spreadsheet_made_of_a_reference_is_found_among_blanks(run: Run) -> None:
    mapping = MAPPING.replace('key = ["reference"]', 'key = ["user_id"]')
    for text in (" 1.23457E+14", "#N/A "):
        assert "spreadsheet" in run(lines(FIELDS | {"reference": text}), mapping).rejects[0][1]
