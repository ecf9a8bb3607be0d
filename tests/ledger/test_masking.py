"""What is masked before it is stored beside the ledger, and what must stay readable."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.masking import SIZE_LIMIT_BYTES, cut, mask_text, masked

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=700) | st.decimals(),
    lambda inner: st.lists(inner, max_size=60) | st.dictionaries(st.text(), inner, max_size=60),
    max_leaves=30,
)


@given(JSON)
def test_whatever_it_is_given_is_json_of_a_bounded_size_that_postgresql_can_hold(value: Any) -> None:
    text = json.dumps(masked(value), ensure_ascii=False)
    assert len(text.encode()) <= SIZE_LIMIT_BYTES
    assert "\\u0000" not in text


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key trk_3f9e54ac4ec1_nXDZ4H-a_b was used", "key *** was used"),
        ("Authorization: Bearer eyJhbGciOi.x", "Authorization: Bearer ***"),
        ("postgresql://treasury:hunter2@127.0.0.1/x", "postgresql://treasury:***@127.0.0.1/x"),
        ("redis://:hunter2@127.0.0.1/0", "redis://:***@127.0.0.1/0"),
        ("from someone@example.com", "from ***"),
        ("card 4111-1111-1111-1111 refused", "card *** refused"),
        ("airtime for 0821234567", "airtime for ***4567"),
        ("airtime for +27821234567", "airtime for ***4567"),
    ],
)
def test_secrets_and_personal_data_are_masked_by_their_form(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "01a2075d-7b9a-7104-9aa5-288984115006",
        "wallet w-4111111111111111",
        "4111111111111112 is no card number",
        "amount 25000.00 ZAR at 2026-11-23T12:00:00+00:00",
        "http://127.0.0.1:8400/api/v1/transactions",
    ],
)
def test_what_somebody_needs_to_look_into_it_stays(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "name", ["password", "api_key", "X-Api-Key", "Authorization", "pin", "voucher_pin", "CVV", "Cookie"]
)
def test_what_stands_under_a_secret_s_name_is_masked_at_any_depth(name: str) -> None:
    assert masked({"body": [{name: "1234"}]}) == {"body": [{name: "***"}]}


def test_money_stays_as_it_is_written() -> None:
    assert masked({"amount": Decimal("25000.00"), "shipping": "x"}) == {"amount": "25000.00", "shipping": "x"}
