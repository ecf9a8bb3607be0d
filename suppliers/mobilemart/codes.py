"""MobileMart's ``fulcrumErrorCode`` and what it means here. Success has none."""

from collections.abc import Mapping
from types import MappingProxyType

from suppliers.verdicts import Verdict

CODES: Mapping[int, Verdict] = MappingProxyType(
    {
        1001: Verdict.INVALID,  # amount
        1002: Verdict.DECLINED,  # the upstream cannot source it
        1010: Verdict.INVALID,  # a field is missing
        1013: Verdict.INVALID,  # phone number
        1016: Verdict.DECLINED,  # the subscriber is not allowed
    }
)
SUCCESSFUL = "successful"
SALES: Mapping[str, Verdict] = MappingProxyType(
    {SUCCESSFUL: Verdict.SUCCESS, "success": Verdict.SUCCESS, "binned": Verdict.DECLINED}
)
_KNOWN = range(1000, 1104)


def verdict_of(code: int | None, status: int) -> Verdict:
    """Return the verdict that a problem with this code and HTTP status means.

    A code of the published range that is not in the table, on a 4xx, is a refusal like the others. Anything else says
    nothing about the outcome.
    """
    if code is not None and code in CODES:
        return CODES[code]
    refused = 400 <= status < 500 and code in _KNOWN
    return Verdict.DECLINED if refused else Verdict.UNCERTAIN
