"""Peach's result codes and what they mean here. The longest entry that a code starts with counts."""

from collections.abc import Mapping
from types import MappingProxyType

from suppliers.verdicts import Verdict

CODES: Mapping[str, Verdict] = MappingProxyType(
    {
        "000.000.": Verdict.SUCCESS,
        "000.100.110": Verdict.SUCCESS,  # in test mode
        "000.200.": Verdict.PENDING,  # .000 pending, .100 created
        "100.396.101": Verdict.CANCELLED,
        "100.396.104": Verdict.UNCERTAIN,
        "200.": Verdict.INVALID,  # the request's format
        "700.400.580": Verdict.ABSENT,  # there is no such payment
        "800.100.15": Verdict.DECLINED,
        "800.900.": Verdict.CREDENTIALS,
        "900.100.": Verdict.UNCERTAIN,  # a communication error between Peach and the bank
    }
)


def verdict_of(code: str) -> Verdict:
    """Return the verdict that ``code`` means; uncertain when no entry fits."""
    fitting = [start for start in CODES if code.startswith(start)]
    return CODES[max(fitting, key=len)] if fitting else Verdict.UNCERTAIN
