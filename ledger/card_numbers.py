"""Payment card numbers in texts. They do not belong into a ledger that nobody can delete from for ten years.

A card number is 13 to 19 digits with the issuer's digits in front and a check digit at the end (ISO/IEC 7812-1). One
random number in ten has a right check digit, so the issuer and the length that goes with it are asked for too; of
random numbers of 16 digits about one in forty then still looks like a card. That is why a reference, which is often
such a number, is judged more mildly: see `FORMS`.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from typing import Any

from ledger.errors import FieldError


class Refusal(StrEnum):
    """What is refused: ``REFUSE`` as `FORMS` says, ``STRICT`` any form in any text, ``ACCEPT`` nothing."""

    REFUSE = "refuse"
    STRICT = "strict"
    ACCEPT = "accept"


# Lengths by the digits in front. Sources: the networks' published ranges.
_ISSUERS = (
    (re.compile(r"4"), frozenset({13, 16, 19})),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), frozenset({16})),  # Mastercard
    (re.compile(r"3[47]"), frozenset({15})),  # American Express
    (re.compile(r"30[0-5]|3[689]"), frozenset({14})),  # Diners Club
    (re.compile(r"6011|64[4-9]|65"), frozenset({16, 19})),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), frozenset({16, 19})),  # JCB
    (re.compile(r"62"), frozenset({16, 17, 18, 19})),  # UnionPay
    (re.compile(r"50(?:18|20|38)|5893|6304|6759|676[1-3]"), frozenset({13, 14, 15, 16, 17, 18, 19})),  # Maestro
    (re.compile(r"506[01]"), frozenset({16, 18, 19})),  # Verve
    (re.compile(r"220[0-4]|5019"), frozenset({16})),  # Mir, Dankort
)
_ISSUER_DIGITS = 4  # as many as tell an issuer
_FEWEST_DIGITS, _MOST_DIGITS = 13, 19
# Spaces, also those that do not break, and hyphens, dashes and the minus sign, as word processors make them.
_PARTING = " \u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013\u2014\u2015\u2212-"
# Groups of digits, whose neighbours may stand for something else: an expiry date behind a number, a counter before it.
_ANY = re.compile(rf"(?<![0-9A-Za-z])\d+(?:[{_PARTING}]{{1,3}}\d+)*(?![0-9A-Za-z])", re.ASCII)
# As cards are printed: 4-4-4-4 (and 3 more), 4-6-5, 4-6-4. Dots part groups of these sizes only: they are in fractions.
_GROUPED = re.compile(
    rf"(?<![0-9A-Za-z])\d{{4}}([{_PARTING}]{{1,3}}|\.)"
    r"(?:\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{6}\1\d{4,5})(?![0-9A-Za-z])",
    re.ASCII,
)
# An electricity token has twenty digits, 4-4-4-4-4, which no card has; one in forty would be taken for a card and more.
_TOKEN = re.compile(
    rf"(?<![0-9A-Za-z])(?<![0-9][{_PARTING}])\d{{4}}([{_PARTING}]{{1,3}})\d{{4}}(?:\1\d{{4}}){{3}}"
    rf"(?![0-9A-Za-z])(?![{_PARTING}]{{1,3}}[0-9])",
    re.ASCII,
)
# What may stand before a number without a space: words for it, and the mark of a magnetic stripe's first track. Not any
# letters: ids begin with some, and of those one in forty would be refused by chance.
_LABEL = re.compile(
    r"(?<![0-9A-Za-z])(?:pan|card|cc|visa|mastercard|maestro|amex|verve|%b)(?=\d{13})", re.ASCII | re.IGNORECASE
)
# A number with an exponent may have more digits than are written.
_EXPONENT = re.compile(rb"[:\[,\s-]\d[\d.]*[eE]")
_LONGEST_EXPONENT = 40  # beyond it no number has a card's length
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_PARTING_BYTES = b" -." + bytes(range(0x80, 0x100))  # of what is not ASCII any: that may be a separator
_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes(2 * digit - 9 * (digit > 4) for digit in range(10)))
FREE_TEXTS = ("description", "metadata")
# Their numbers are other people's: only what is written as on a card is taken for one.
REFERENCES = ("reference", "supplier_reference", "supplier_transaction_id")
_EITHER = (_ANY, _GROUPED)
FORMS = {**dict.fromkeys(FREE_TEXTS, _EITHER), **dict.fromkeys(REFERENCES, (_GROUPED,))}
_RULE = "must not hold a payment card number"


def passes_luhn(digits: str) -> bool:
    """Whether the last of ``digits`` is their check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 * (number > 9)
    return total % 10 == 0


def is_card_number(digits: str) -> bool:
    """Whether ``digits`` can be a card's: an issuer in front, a length that it uses, a right check digit."""
    return len(digits) in _lengths(digits[:_ISSUER_DIGITS]) and passes_luhn(digits)


@lru_cache(maxsize=10_000)
def _lengths(front: str) -> frozenset[int]:
    """The lengths of numbers that begin with ``front``, by all issuers that they may be of."""
    return frozenset().union(*(lengths for issuer, lengths in _ISSUERS if issuer.match(front)))


def refuse_card_numbers(values: Mapping[str, Any], refusal: Refusal) -> None:
    """Raises FieldError for the first free text or reference among ``values`` that holds a card number."""
    if refusal is Refusal.ACCEPT:
        return
    for field, form in FORMS.items():
        value = values.get(field)
        strict = refusal is Refusal.STRICT
        if value is not None and _holds_one(value, _EITHER if strict else form, tokens=not strict):
            raise FieldError(field, _RULE)


def refuse_card_number(field: str, text: str) -> None:
    """Raises FieldError naming ``field`` when a text that is kept as long as the ledger holds a card number."""
    if _holds_one(text, _EITHER):
        raise FieldError(field, _RULE)


def may_hold_one(text: bytes) -> bool:
    """False only if no text or number in the JSON ``text`` can hold a card number: then its values need no search."""
    # An escape may stand for a digit. Without the separators, what is left has every card number as one run of digits.
    if b"\\" in text or _EXPONENT.search(text):
        return True
    return _FEWEST_DIGITS * b"0" in text.translate(_DIGITS_AS_ZERO, _PARTING_BYTES)


def _holds_one(value: Any, forms: Sequence[re.Pattern[str]], *, tokens: bool = False) -> bool:
    """Whether a text, or a text or number at any depth of a JSON value, holds a card number; ``tokens`` are none."""
    if isinstance(value, dict):
        return any(_holds_one(item, forms, tokens=tokens) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_holds_one(item, forms, tokens=tokens) for item in value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = _written_out(value)
    if not isinstance(value, str) or len(value) < _FEWEST_DIGITS:
        return False
    text = _LABEL.sub(" ", value)
    return _is_in(text, forms) and not (tokens and not _is_in(_TOKEN.sub(" ... ", text), forms))


def _is_in(text: str, forms: Sequence[re.Pattern[str]]) -> bool:
    return any(_is_among(re.findall(r"\d+", found[0], re.ASCII)) for form in forms for found in form.finditer(text))


def _written_out(number: int | Decimal) -> str:
    """``number`` as PostgreSQL stores it: in digits, without an exponent."""
    if isinstance(number, Decimal):
        return format(number, "f") if abs(number.adjusted()) <= _LONGEST_EXPONENT else ""
    return str(number)


def _is_among(groups: Sequence[str]) -> bool:
    """Whether some neighbouring ``groups`` of digits are a card number together.

    A few steps for each group, whatever stands there: whoever writes to the API chooses the text.
    """
    if len(groups) == 1:
        return is_card_number(groups[0])
    digits = "".join(groups)
    if len(digits) < _FEWEST_DIGITS:
        return False
    starts = [0, *accumulate(map(len, groups))]
    is_edge = bytearray(len(digits) + _MOST_DIGITS + 1)
    for start in starts:
        is_edge[start] = 1
    sums = _luhn_sums(digits)
    for start in starts:
        for length in _lengths(digits[start : start + _ISSUER_DIGITS]):
            end = start + length
            if is_edge[end]:
                of_end = sums[(end - 1) % 2]
                if (of_end[end] - of_end[start]) % 10 == 0:
                    return True
    return False


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """What the digits before each place add up to, as for a check digit at an even place and at an odd one."""
    plain, twice = digits.encode().translate(_PLAIN), digits.encode().translate(_TWICE)
    last_even, last_odd = bytearray(twice), bytearray(twice)
    last_even[::2], last_odd[1::2] = plain[::2], plain[1::2]
    return list(accumulate(last_even, initial=0)), list(accumulate(last_odd, initial=0))
