"""The rules of fields over whole columns at once, where that costs a third of asking the rule for each value.

Each takes the values of one field, none of them None, and gives them back as the rule would. Where the rule would
refuse any of them it raises `NotWell`, without which and why: the rule itself says it, asked value by value.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from unicodedata import is_normalized

from ledger.money import AMOUNT, CENT
from ledger.names import LONGEST_NAME, is_trimmed

Column = list[Any]
Check = Callable[[Column], Column]


class NotWell(Exception):  # noqa: N818  # nothing is wrong with the program
    """Some value of the column breaks its rule."""


def names(values: Column) -> Column:
    """As `ledger.names.check_name`."""
    together = _joined(values, LONGEST_NAME)
    _require(together.isprintable())
    _require(" " not in together or all(map(is_trimmed, values)))
    _require(together.isascii() or all(is_normalized("NFC", value) for value in values))
    return values


def texts(longest: int, unprintable: re.Pattern[str]) -> Check:
    """1 to ``longest`` characters, none of them ``unprintable``."""

    def check(values: Column) -> Column:
        _require(unprintable.search(_joined(values, longest)) is None)
        return values

    return check


def among(choices: frozenset[str]) -> Check:
    """One of ``choices``."""

    def check(values: Column) -> Column:
        _require_strings(values)
        _require(choices.issuperset(values))
        return values

    return check


def amounts(may_be: Callable[[Decimal], bool]) -> Check:
    """As `ledger.money.parse_amount`, where the smallest of the values ``may_be`` one."""

    def check(values: Column) -> Column:
        _require_strings(values)
        _require(all(map(AMOUNT.match, values)))
        parsed = [Decimal(text).quantize(CENT) + 0 for text in values]
        _require(may_be(min(parsed)))
        return parsed

    return check


def _joined(values: Column, longest: int) -> str:
    _require_strings(values)
    _require(min(map(len, values)) >= 1 and max(map(len, values)) <= longest)
    return "".join(values)


def _require_strings(values: Column) -> None:
    _require(set(map(type, values)) == {str})


def _require(well: bool) -> None:
    if not well:
        raise NotWell
