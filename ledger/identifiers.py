"""UUIDv7 identifiers whose timestamp *is* ``created_at``: the id contains the month, the month gives the tier.

Layout by RFC 9562, 5.7: 48 bits Unix milliseconds, 4 bits version, 12 bits, 2 bits variant, 62 bits.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from ledger.errors import FieldError
from ledger.months import Month

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_TAIL_BITS = 74
# A random digit as the one that the variant begins: 0b10 and two random bits.
_VARIANT_DIGITS = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}


def unix_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970 of a timezone-aware datetime, exactly (floor; no float takes part)."""
    return (moment - _EPOCH) // _MILLISECOND


def unix_us(moment: datetime) -> int:
    """Microseconds since 1970 of a timezone-aware datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_unix_ms(milliseconds: int) -> datetime:
    """The UTC datetime of ``milliseconds`` since 1970."""
    return _EPOCH + milliseconds * _MILLISECOND


def from_unix_us(microseconds: int) -> datetime:
    """The UTC datetime of ``microseconds`` since 1970."""
    return _EPOCH + microseconds * _MICROSECOND


def truncate_ms(moment: datetime) -> datetime:
    """``moment`` in UTC at millisecond precision, rounded down: the only precision that ``created_at`` has."""
    return from_unix_ms(unix_ms(moment))


def _uuid7(milliseconds: int, tail: int) -> UUID:
    high = (tail >> 62) & 0xFFF
    low = tail & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | _VERSION_7 | (high << 64) | _VARIANT | low)


def new_id(created_at: datetime, random_bits: Callable[[int], int]) -> UUID:
    """A fresh id for a row created at ``created_at`` (timezone-aware). ``random_bits(n)`` gives n random bits."""
    return _uuid7(unix_ms(created_at), random_bits(_TAIL_BITS))


def new_ids(created_at: datetime, count: int, random_bits: Callable[[int], int]) -> list[str]:
    """Texts of ``count`` fresh ids for rows created together at ``created_at``, ascending: their order stays."""
    time = f"{unix_ms(created_at):012x}"
    start = f"{time[:8]}-{time[8:]}-7"
    digits = 20 * count  # 80 random bits an id, of which 74 are used
    tails = f"{random_bits(4 * digits):0{digits}x}"
    ids = [
        f"{start}{tail[:3]}-{_VARIANT_DIGITS[tail[3]]}{tail[4:7]}-{tail[8:]}"
        for tail in (tails[at : at + 20] for at in range(0, digits, 20))
    ]
    return sorted(ids)


def derived_id(created_at: datetime, source: bytes) -> UUID:
    """The id of an imported row: the same ``created_at`` and ``source`` always give the same id.

    ``source`` names the row in the system it comes from. 74 bits of its SHA-256 take the place of the random bits, so
    importing a file again meets the primary key of the first time.
    """
    digest = hashlib.sha256(source).digest()
    return _uuid7(unix_ms(created_at), int.from_bytes(digest[:10], "big") & ((1 << _TAIL_BITS) - 1))


def created_at_of(row_id: UUID) -> datetime:
    """The instant in an id, UTC. Raises FieldError when it is not a UUIDv7, or of an instant beyond the year 9999."""
    if row_id.version != 7:
        raise FieldError("id", "must be a UUID of version 7")
    try:
        return from_unix_ms(row_id.int >> 80)
    except OverflowError:
        raise FieldError("id", "must be of an instant before the year 10000") from None


def first_id(moment: datetime) -> UUID:
    """The place of ``moment`` (timezone-aware, not before 1970) in byte order: ids of it or later are greater."""
    return UUID(int=unix_ms(moment) << 80)


def time_of(row_id: UUID) -> datetime | None:
    """The instant in an id, UTC; None when it is not a UUIDv7 or its instant lies beyond the year 9999."""
    try:
        return created_at_of(row_id)
    except FieldError:
        return None


@lru_cache(maxsize=4096)  # a question asks for those of every month
def id_bounds(month: Month) -> tuple[UUID, UUID]:
    """``[first, last)``: an id belongs to the month exactly when ``first <= id < last`` in byte order."""
    return (first_id(month.lower), first_id(month.upper))
