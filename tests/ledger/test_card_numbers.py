"""Which texts and numbers hold a payment card number. The numbers are the networks' published test numbers."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.card_numbers import Refusal, is_card_number, may_hold_one, refuse_card_numbers
from ledger.errors import FieldError

HELD: list[Any] = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "3782-822463-10005",
    "4111111111111111 1",
    "1 4111111111111111",
    "12/27 4111111111111111",
    "4111 1111 1111 1111 12/27 123",
    "0000 0 4111 1111 1111 1111",
    "PAN4111111111111111",
    "Visa4111111111111111",
    "%B4111111111111111^DOE/J^2912101",
    "5061 2345 6789 0123 451",  # Verve, 19 digits: 4-4-4-4-3
    "ref 12 4111 1111 1111 1111 exp 12 27",
    "4111\u00a01111\u00a01111\u00a01111",
    "4111\u20131111\u20131111\u20131111",
    "4111  1111  1111  1111",
    "4111 - 1111 - 1111 - 1111",
    "card 4111.1111.1111.1111.",
    "3782.822463.10005",
    4111111111111111,
    Decimal("378282246310005.0"),
    Decimal("3.78282246310005e14"),
    Decimal("37828224631000.5e1"),
]
NOT_HELD: list[Any] = [
    "",
    "4111111111111112",
    "41111111111111110000",  # one number of twenty digits
    "4111 1111 1111 1111 0000",  # a token of electricity has twenty, in groups of four
    "token 0000-4111-1111-1111-1111.",
    "ORD4111111111111111",  # an id that begins with letters
    "x4111111111111111",
    "2026-11-25 2026-11-26",
    "0830012300 0830012301",
    "4.111111111111111",  # a fraction
    "411.1111.1111.11111",
    "4111    1111    1111    1111",  # columns of a table
    Decimal("1e5"),
    Decimal("4e999999"),
    Decimal("0.4111"),
    True,
    None,
]


def holds(field: str, value: Any, refusal: Refusal = Refusal.REFUSE) -> bool:
    try:
        refuse_card_numbers({field: value}, refusal)
    except FieldError:
        return True
    return False


@pytest.mark.parametrize("value", HELD)
def test_a_card_number_is_found_whatever_stands_beside_it(value: Any) -> None:
    assert holds("metadata", {"a": [value]})
    if isinstance(value, str):
        assert holds("description", value)


@pytest.mark.parametrize("value", NOT_HELD)
def test_other_numbers_are_none(value: Any) -> None:
    assert not holds("metadata", {"a": [value]})


def test_a_token_is_passed_by_in_references_too_unless_all_is_refused() -> None:
    for token in ("4111 1111 1111 1111 0000", "0000-4111-1111-1111-1111"):
        assert not holds("reference", token)
        assert holds("reference", token, Refusal.STRICT)
        assert holds("description", f"{token} and 4111 1111 1111 1111")


def plain_search(text: str) -> bool:
    """The same by trying every run of neighbouring groups."""
    groups = text.split(" ")
    runs = ("".join(groups[i:j]) for i in range(len(groups)) for j in range(i + 1, len(groups) + 1))
    return any(is_card_number(run) for run in runs)


@given(st.lists(st.text("0123456789", min_size=1, max_size=17), min_size=1, max_size=8).map(" ".join))
@example("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1")
@example("37 82822463 10005 4")
def test_groups_are_a_card_number_when_some_neighbours_are(text: str) -> None:
    assert holds("description", text, Refusal.STRICT) == plain_search(text)


@pytest.mark.heavy("the finder is tested on short texts beside it")
def test_a_large_text_of_digits_takes_a_few_steps_for_each() -> None:
    """Trying every run of two million groups would not end within the time that a test has."""
    assert not holds("description", "4 " * 1_000_000)
    assert holds("description", "4 " * 1_000_000 + "x 4111111111111111")


@pytest.mark.parametrize("written", [msgspec.json.encode(value) for value in HELD if not isinstance(value, Decimal)])
@pytest.mark.parametrize("before", [b"", b" "])
def test_the_look_at_a_whole_body_passes_none_by(written: bytes, before: bytes) -> None:
    assert may_hold_one(b'{"a":' + before + written + b"}")


@pytest.mark.parametrize("number", ["378282246310005.0", "3.78282246310005e14", "37828224631000.5e1", "42E14"])
def test_the_look_at_a_whole_body_passes_no_number_by(number: str) -> None:
    assert may_hold_one(f'{{"a":{number}}}'.encode())
    assert may_hold_one(f'{{"a":[1, {number}]}}'.encode())


def test_a_body_without_any_is_known_at_sight() -> None:
    assert not may_hold_one(b'{"amount":"120.50","reference":"5e3f-4a1b","note":"2 of 3","n":[1,2]}')
