"""Refusing payment card numbers: which fields may hold none, and in which form. `ledger.card_finder` finds them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from ledger.card_finder import (
    FEWEST_DIGITS,
    Search,
    holds_card_number,
    is_card_number,
    mask_card_numbers,
    passes_luhn,
)
from ledger.errors import FieldError

__all__ = [
    "FORMS",
    "FREE_TEXTS",
    "REFERENCES",
    "Refusal",
    "Search",
    "is_card_number",
    "mask_card_numbers",
    "may_hold_one",
    "passes_luhn",
    "refuse_card_number",
    "refuse_card_numbers",
    "refuse_key",
]

# A number with an exponent may have more digits than are written.
_EXPONENT = re.compile(rb"[:\[,\s-]\d[\d.]*[eE]")
_LONGEST_EXPONENT = 40  # beyond it no number has a card's length
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_PARTING_BYTES = b" -." + bytes(range(0x80, 0x100))  # of what is not ASCII any: that may be a separator
FREE_TEXTS = ("description", "metadata")
# Their numbers are other people's: only what is written as on a card is taken for one.
REFERENCES = ("reference", "supplier_reference", "supplier_transaction_id")
FORMS = {**dict.fromkeys(FREE_TEXTS, Search.FREE_TEXT), **dict.fromkeys(REFERENCES, Search.REFERENCE)}
_RULE = "must not hold a payment card number"


class Refusal(StrEnum):
    """The texts that are refused: ``REFUSE`` as `FORMS` says, ``STRICT`` any form in any text, ``ACCEPT`` nothing."""

    REFUSE = "refuse"
    STRICT = "strict"
    ACCEPT = "accept"


def refuse_card_numbers(values: Mapping[str, Any], refusal: Refusal) -> None:
    """Raises FieldError for the first free text or reference among ``values`` that holds a card number."""
    if refusal is Refusal.ACCEPT:
        return
    for field, search in FORMS.items():
        value = values.get(field)
        if value is not None and _holds_one(value, Search.STRICT if refusal is Refusal.STRICT else search):
            raise FieldError(field, _RULE)


def refuse_card_number(field: str, text: str, search: Search = Search.STRICT) -> None:
    """Raises FieldError naming ``field`` when a text that is kept as long as the ledger holds a card number."""
    if holds_card_number(text, search):
        raise FieldError(field, _RULE)


def refuse_key(field: str, text: str, refusal: Refusal) -> None:
    """Raises FieldError when a key that a client chose is written as on a card; with ``STRICT``, in any form."""
    if refusal is not Refusal.ACCEPT:
        refuse_card_number(field, text, Search.STRICT if refusal is Refusal.STRICT else Search.REFERENCE)


def may_hold_one(text: bytes) -> bool:
    """False only if no text or number in the JSON ``text`` can hold a card number: then its values need no search."""
    # An escape may stand for a digit. Without the separators, what is left has every card number as one run of digits.
    if b"\\" in text or _EXPONENT.search(text):
        return True
    return FEWEST_DIGITS * b"0" in text.translate(_DIGITS_AS_ZERO, _PARTING_BYTES)


def _holds_one(value: Any, search: Search) -> bool:
    """Return whether a text, or a text or number at any depth of a JSON value, holds a card number."""
    if isinstance(value, dict):
        return any(_holds_one(item, search) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_holds_one(item, search) for item in value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = _written_out(value)
    return isinstance(value, str) and holds_card_number(value, search)


def _written_out(number: int | Decimal) -> str:
    """``number`` as PostgreSQL stores it: in digits, without an exponent."""
    if isinstance(number, Decimal):
        return format(number, "f") if abs(number.adjusted()) <= _LONGEST_EXPONENT else ""
    return str(number)
