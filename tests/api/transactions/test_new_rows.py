"""Rows of a batch checked together are the rows, and the refusals, of each looked at by itself."""

import json
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.routing.parsing import decode_object
from api.server.services import Services
from api.transactions.new_rows import new_row, new_rows
from config import load_settings
from ledger.card_numbers import Refusal, may_hold_one, refuse_card_numbers
from ledger.errors import FieldError
from ledger.identifiers import created_at_of
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS
from tests.api.ledger_rows import BODY, VAS_BODY
from tests.examples import examples

SETTINGS = load_settings()
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CARD, GROUPED = "4111111111111111", "4111-1111-1111-1111"
NAMES = ["w", "é" * 64, "x" * 65, "", "a\u200bb", "a\x00", "\ud800", 1, None, [], {}]
TEXTS = ["order-1", "x" * 128, "x" * 513, "", "a\nb", "\ud800", CARD, GROUPED, f"card {CARD}", 5, None, True]
AMOUNTS = [
    "1.00",
    "0.01",
    "-0.00",
    "0",
    "-1.5",
    "9" * 16,
    "9" * 17,
    "1.234",
    "1\n2",
    "1.0\n",
    "\u0661",
    "NaN",
    " 1",
    1,
    None,
]
INSTANTS = ["2026-03-01T09:30:00Z", "2026-03-01T09:30:00.123456+02:00", "2026-02-30T00:00:00Z", "today", 5, None]
METADATA = [
    {},
    {"channel": "app", "flag": True, "none": None},
    {"n": 1.5, "deep": {"er": [1, 2, {"x": "y"}]}},
    {"nul": "a\x00b"},
    {"like a nul": "\\u0000"},
    {"half": "\ud800"},
    {"\ud800": "half"},
    {"card": int(CARD)},
    {"card": [GROUPED]},
    {"much": "x" * 4096},
    {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}},
    [],
    "text",
    None,
]
VALUES: dict[str, list[Any]] = {
    "user_id": NAMES,
    "wallet_id": NAMES,
    "counterparty_wallet_id": NAMES,
    "supplier_product_id": NAMES,
    "type": ["payment", "refund", "Payment", 1, None],
    "status": ["pending", "completed", "lost", [], None],
    "currency": ["ZAR", "USD", "zar", "XXX", 1, None],
    "amount": AMOUNTS,
    "fee": AMOUNTS,
    "commission": AMOUNTS,
    "reference": TEXTS,
    "description": TEXTS,
    "supplier_reference": TEXTS,
    "supplier_transaction_id": TEXTS,
    "supplier": ["flash", "peach", "other", None],
    "vas_type": ["airtime", "data", "other", None],
    "mobile_number": ["+27831234567", "083 123", None],
    "processed_at": INSTANTS,
    "metadata": METADATA,
    "client_id": ["acme", None],
    "unknown": ["x", None],
}
TABLES = [(TRANSACTIONS, BODY), (VAS_TRANSACTIONS, VAS_BODY)]


def services(card_numbers: str) -> Services:
    """As much of them as rows need."""
    set_so = SETTINGS.model_copy(update={"api_card_numbers": card_numbers})
    fake = SimpleNamespace(now=lambda: NOW, random_bits=random.getrandbits, settings=set_so)
    return cast("Services", fake)


@st.composite
def items(draw: st.DrawFn, good: dict[str, Any]) -> list[Any]:
    """Items of which most are good: at most a few fields of a few of them are anything at all."""
    made: list[Any] = [dict(good) for _ in range(draw(st.integers(1, 6)))]
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from([*VALUES]))
        value = draw(st.sampled_from(VALUES[name]))
        for item in draw(st.sampled_from([made, made[:1]])):
            item[name] = value
    return made if draw(st.integers(0, 9)) else [*made, draw(st.sampled_from([None, [], "x", 1]))]


@pytest.mark.parametrize(("table", "good"), TABLES)
@given(data=st.data(), card_numbers=st.sampled_from([*Refusal]), ascii_only=st.booleans())
@settings(max_examples=examples(400))
def test_a_batch_is_judged_as_its_items_one_by_one(
    table: Any, good: dict[str, Any], data: st.DataObject, card_numbers: Refusal, ascii_only: bool
) -> None:
    text = json.dumps({"items": data.draw(items(good))}, ensure_ascii=ascii_only)
    body = text.encode(errors="replace")
    given_items = decode_object(body)["items"]
    rows, refused = new_rows(services(card_numbers), "acme", table, given_items, body)

    wanted, errors = [], {}
    for index, item in enumerate(given_items):
        try:
            wanted.append(new_row(services(card_numbers), "acme", table, item))
        except FieldError as error:
            errors[index] = (error.field, error.rule)
    assert {index: (error.field, error.rule) for index, error in refused.items()} == errors
    assert [[*row] for row in rows] == [[*row] for row in wanted]
    for row, one in zip(rows, wanted, strict=True):
        assert {**row, "id": ""} == {**one, "id": ""}
        assert [str(value) for value in row.values()][1:] == [str(value) for value in one.values()][1:]
        assert created_at_of(UUID(str(row["id"]))) == row["created_at"] == NOW


def test_good_rows_are_checked_together_and_keep_their_order() -> None:
    many = [BODY | {"reference": f"order-{number}"} for number in range(1000)]
    rows, refused = new_rows(services("refuse"), "acme", TRANSACTIONS, many, json.dumps(many).encode())
    assert [row["reference"] for row in rows] == [one["reference"] for one in many]
    ids = [row["id"] for row in rows]
    assert refused == {}
    assert ids == sorted(set(ids))
    assert {UUID(one).version for one in ids} == {7}
    assert {UUID(one).variant for one in ids} == {"specified in RFC 4122"}


@given(
    st.recursive(
        st.sampled_from([CARD, GROUPED, "4111 1111 1111 1111", int(CARD), "order-1", "411111111111", 7, None])
        | st.text('0123456789- ax\\"', max_size=24),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("41- ", max_size=20), inner, max_size=3),
    )
)
def test_no_card_number_is_overlooked_in_the_text_of_a_body(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        refuse_card_numbers({"metadata": value}, Refusal.STRICT)
    except FieldError:
        assert may_hold_one(body)
    assert not may_hold_one(b'{"reference": "order-1", "amount": "120.50", "wallet_id": "w-123456789012"}')
