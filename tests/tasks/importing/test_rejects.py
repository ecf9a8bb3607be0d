"""The rejects file shows the line, never a card number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.card_numbers import Search, mask_card_numbers, passes_luhn

CARD = "4111111111111111"  # the test number of every card scheme's documentation; belongs to nobody


def mask_cards(text: str) -> str:
    """``text`` as the rejects file shows it."""
    return mask_card_numbers(text, Search.RAW, 4)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"1;{CARD};9", "1;************1111;9"),
        ("4111 1111 1111 1111 12", "**** **** **** 1111 12"),
        ("12 4111-1111-1111-1111", "12 ****-****-****-1111"),
        ("378282246310005", "***********0005"),
        ("4111111111111112", "4111111111111112"),
        ("2026-02-03 09:15;150.00", "2026-02-03 09:15;150.00"),
        ("", ""),
    ],
)
def test_card_numbers_are_masked_and_other_numbers_stay(text: str, masked: str) -> None:
    assert mask_cards(text) == masked


@given(st.text("0123456789", min_size=12, max_size=18), st.text("ab ;,-", max_size=4), st.text("ab ;,-", max_size=4))
def test_no_card_number_comes_through_whole(digits: str, before: str, after: str) -> None:
    card = next(f"{digits}{check}" for check in range(10) if passes_luhn(f"{digits}{check}"))
    shown = mask_cards(f"{before}{card}{after}")
    assert card not in shown
    assert shown.startswith(before)
    assert shown.endswith(card[-4:] + after)
