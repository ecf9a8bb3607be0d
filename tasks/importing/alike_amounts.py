"""Amounts that became alike: what the file says of them beside their number, and the rows do not.

-10 and +10 would be 20 of one type, and so would a credit of 10 and a debit of 10. $ 10 and € 10 would be 20 of one
currency. The amounts of a field are counted by what the file says of them, and the import warns at its end.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Tallies
from typing import NamedTuple

from ledger.counts import counted
from tasks.importing.amounts import is_code
from tasks.importing.mapping import FieldMapping, Mapping

_AMOUNT = "amount"
_ALIKE = "and nothing in the row distinguishes them"


class Origin(NamedTuple):
    """What a file says of an amount that is not zero: column, sign and symbol. ``currency`` is that of the row."""

    column: str | None
    sign: str
    symbol: str | None
    currency: str


Tally = Counter[Origin]


def warnings(mapping: Mapping, tallies: Tallies[str, Tally]) -> tuple[str, ...]:
    """What to say of the amounts of each money field: at most one sentence about signs and columns, and one about
    symbols.
    """
    fields = (*mapping.fields.values(), *mapping.metadata.values())
    sentences: list[str] = []
    for name, tally in tallies.items():
        by_sign = mapping.fields[name].sign == "keep" or name in {field.sign_of for field in fields}
        by_column = name in {field.column_of for field in fields}
        if name != _AMOUNT or not _is_free(mapping.fields["type"]):
            alike = (*_mixed_signs(name, tally, by_sign, by_column), *_mixed_columns(name, tally, by_sign, by_column))
            sentences += alike[:1]
        if mapping.fields["currency"].symbol_of != name:
            sentences += _mixed_symbols(name, tally)
    return tuple(sentences)


def _is_free(type_: FieldMapping) -> bool:
    """Whether the file itself says the type of a row, in a column of its own."""
    return any(source is not None for source in (type_.column, type_.columns, type_.template))


def _mixed_signs(name: str, tally: Tally, by_sign: bool, by_column: bool) -> Iterator[str]:
    groups = (
        {}
        if by_sign
        else _counted(tally, lambda origin: origin.column if by_column else None, lambda origin: origin.sign)
    )
    for column, signs in groups.items():
        if signs["-"] and signs["+"]:
            where = "" if column is None else f" of column {column}"
            below, others = counted(signs["-"], "amount"), counted(signs["+"], "other")
            alike = f"makes {below} below zero and {others}{where} alike"
            yield f'{name}: sign = "absolute" {alike}, {_ALIKE}{_advice(name, "sign_of")}'


def _mixed_columns(name: str, tally: Tally, by_sign: bool, by_column: bool) -> Iterator[str]:
    groups = (
        {}
        if by_column
        else _counted(tally, lambda origin: origin.sign if by_sign else None, lambda origin: origin.column)
    )
    for columns in groups.values():
        if len(columns) > 1:
            alike = " and ".join(f"{counted(count, 'amount')} of column {column}" for column, count in columns.items())
            yield f"{name}: {alike} are alike, {_ALIKE}{_advice(name, 'column_of')}"


def _mixed_symbols(name: str, tally: Tally) -> Iterator[str]:
    """Codes of currencies are left out: an amount with another code than the row's currency is rejected."""
    for currency, symbols in _counted(tally, lambda origin: origin.currency, lambda origin: origin.symbol).items():
        several = sorted(symbol for symbol in symbols if symbol and not is_code(symbol))
        if len(several) > 1:
            alike = " and ".join(f"with {symbol}" for symbol in several)
            yield f'{name}: amounts {alike} are all in {currency}; map currency from {{ symbol_of = "{name}" }}'


def _counted(
    tally: Tally, group: Callable[[Origin], str | None], kind: Callable[[Origin], str | None]
) -> dict[str | None, Counter[str | None]]:
    """The numbers of amounts of each kind, by groups of amounts that the rows distinguish."""
    groups: dict[str | None, Counter[str | None]] = {}
    for origin, number in tally.items():
        groups.setdefault(group(origin), Counter())[kind(origin)] += number
    return groups


def _advice(name: str, source: str) -> str:
    return f'; map type from {{ {source} = "{name}" }}' if name == _AMOUNT else ""
