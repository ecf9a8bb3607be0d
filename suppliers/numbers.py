"""South African phone numbers in the two ways that suppliers want them."""

import re

from ledger.errors import FieldError

MOBILE = re.compile(r"(?:\+?27|0)(\d{9})\Z", re.ASCII)
MOBILE_RULE = "a South African number: 0 or 27 and nine digits"


def _subscriber(number: str | None) -> str:
    parts = MOBILE.match(number or "")
    if parts is None:
        raise FieldError("mobile_number", f"must be {MOBILE_RULE}")
    return parts[1]


def international(number: str | None) -> str:
    """11 digits that start with 27. Raises FieldError."""
    return f"27{_subscriber(number)}"


def local(number: str | None) -> str:
    """10 digits that start with 0. Raises FieldError."""
    return f"0{_subscriber(number)}"
