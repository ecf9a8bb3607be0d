"""The reference that a supplier knows a purchase by. It follows from the row's id alone, so no crash can lose it.

Most suppliers take the id as it is written. One allows 16 letters and digits, fewer than an id holds. Those carry the
id's time to the millisecond and 47 of its random bits, so the row is found again by its primary key.
"""

from uuid import UUID

from ledger.errors import DataError
from ledger.identifiers import time_of

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 16
_KEPT_BITS = 47
_TIME_SHIFT = 80
_FIXED = (0x7 << 76) | (0b10 << 62)  # version and variant of a UUIDv7
_FREE = (0xFFF << 64) | ((1 << 62) - 1)  # its random bits


def plain_reference(row_id: UUID) -> str:
    """The id with its hyphens: 36 characters."""
    return str(row_id)


def short_reference(row_id: UUID) -> str:
    """16 letters and digits: the id's 48 bits of time, then the lowest 47 random ones, in base 62."""
    number = (row_id.int >> _TIME_SHIFT) << _KEPT_BITS | (row_id.int & ((1 << _KEPT_BITS) - 1))
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def id_range(reference: str) -> tuple[UUID, UUID]:
    """The first and the last id that a row with this `short_reference` can have: one millisecond of them.

    Raises DataError for a text that is not such a reference.
    """
    if len(reference) != _LENGTH or any(digit not in _DIGITS for digit in reference):
        raise DataError("reference: must be 16 letters and digits")
    number = 0
    for digit in reference:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    time = number >> _KEPT_BITS
    first = (time << _TIME_SHIFT) | _FIXED
    if time >> 48 or time_of(UUID(int=first)) is None:
        raise DataError("reference: holds no time")
    return UUID(int=first), UUID(int=first | _FREE)
