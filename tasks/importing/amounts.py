"""Columns to money: the ways in which people write amounts, read exactly. What can be read in two ways is rejected.

A money field is compiled into functions of a record's fields: the amount, its sign, the column that it was taken from,
and its symbol. Sign, column and symbol are what `type`, `currency` and other fields may be mapped from.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from ledger.currencies import CURRENCIES, ENDED_CURRENCIES, decimal_places
from ledger.errors import FieldError
from ledger.money import AMOUNT_RULE
from tasks.importing.mapping import FieldMapping, FileFormat
from tasks.importing.values import Change, Fields, Getter, Positions, changed, compile_value, read_column, with_empty

_BLANKS = " \t\u00a0\u2007\u2009\u202f"
_BLANK = f"[{_BLANKS}]"
_MARK_BLANKS = " \u00a0\u2007\u2009\u202f"
_APOSTROPHES = "'\u2019"
_MINUS = "-\u2212"
_PLAIN = re.compile(r"-?\d+(?:\.\d{1,2})?\Z", re.ASCII)  # what nearly every file has, by the usual marks
_TRAILING_ZEROS = re.compile(r"(-?\d+\.\d{2})0+\Z", re.ASCII)
_WHOLE = re.compile(r"(-?)(\d+)\Z", re.ASCII)
_GROUP = 3  # digits between two marks
_KEPT_PLACES = 2


class Money(NamedTuple):
    """A compiled money field: functions from a record's fields, None where there is no amount.

    ``signed`` is a decimal text with the sign that the file gives it. ``column`` is the column that it is from, and
    ``symbol`` the one that it has there.
    """

    signed: Getter
    column: Getter
    symbol: Getter
    amount: Getter

    @property
    def sign(self) -> Getter:
        """``-`` for an amount below zero, ``+`` otherwise."""
        return changed(self.signed, lambda text: "-" if text.startswith("-") else "+")


def compile_money(
    name: str, mapping: FieldMapping, positions: Positions, format_: FileFormat, currency: Getter
) -> Money:
    """The functions of the money field ``name``. ``currency`` gives the row's currency, which minor units depend on.

    The functions raise FieldError for a text that cannot be read as an amount, or can be read in two ways. They raise
    it as well for a symbol of another currency than the row's. Nothing is rounded.
    """
    read = _reader(name, mapping)
    if mapping.first_of is None:
        text = compile_value(name, mapping, positions, format_.stripping)
        signed = changed(text, read)
        column: Getter = lambda fields: mapping.column  # noqa: E731  # a function like the other
    else:
        texts = {column_name: read_column(column_name, positions, format_) for column_name in mapping.first_of}
        getters = {column_name: changed(getter, read) for column_name, getter in texts.items()}
        column = _filled_column(name, getters)
        text, signed = _from_filled(texts, column), _from_filled(getters, column)
        default = None if mapping.default is None else read(mapping.default)
        signed = with_empty(name, mapping.model_copy(update={"default": default}), signed)
    symbol = _symbol(mapping, text)
    amount = changed(signed, lambda text: text.removeprefix("-")) if mapping.sign == "absolute" else signed
    amount = _from_minor(name, amount, currency) if mapping.unit == "minor" else changed(amount, _without_zeros)
    if any(map(is_code, mapping.symbols)):
        amount = _in_its_currency(name, amount, symbol, currency)
    return Money(signed, column, symbol, amount)


def is_code(symbol: str) -> bool:
    """Return whether a symbol is the code of a currency, and not one like $, which several currencies have."""
    return symbol.upper() in CURRENCIES or symbol.upper() in ENDED_CURRENCIES


def _symbol(mapping: FieldMapping, text: Getter) -> Getter:
    """A function to the symbol of an amount, of which ``text`` gives the text: None where it has none."""
    if not mapping.symbols:
        return lambda fields: None
    match = _pattern(mapping).match

    def read(fields: Fields) -> str | None:
        amount_match = match(text(fields) or "")
        return amount_match and (amount_match["before"] or amount_match["behind"])

    return read


def _in_its_currency(name: str, amount: Getter, symbol: Getter, currency: Getter) -> Getter:
    """``amount``, which raises FieldError where its symbol is the code of another currency than the row's."""

    def read(fields: Fields) -> str | None:
        code = symbol(fields) or ""
        if is_code(code) and (row_code := currency(fields)) not in (None, code.upper()):
            raise FieldError(name, f"is in {code.upper()}, and the row's currency is {row_code}")
        return amount(fields)

    return read


def _filled_column(name: str, getters: Mapping[str, Getter]) -> Getter:
    def find(fields: Fields) -> str | None:
        """The one column with an amount; of amounts of zero alone, the first."""
        values = {column: text for column, getter in getters.items() if (text := getter(fields)) is not None}
        filled = [column for column, text in values.items() if Decimal(text)]
        if len(filled) > 1:
            raise FieldError(name, f"must be in one column: {' and '.join(filled)} both have an amount")
        return filled[0] if filled else next(iter(values), None)

    return find


def _from_filled(getters: Mapping[str, Getter], column: Getter) -> Getter:
    return lambda fields: None if (filled_column := column(fields)) is None else getters[filled_column](fields)


def _reader(name: str, mapping: FieldMapping) -> Change:
    """A function from a text to a decimal text with a point, at most a leading ``-``, and all of its places."""
    decimal, minor = mapping.decimal, mapping.unit == "minor"
    match = _pattern(mapping).match
    is_usual, rule = decimal == "." and not minor and "" not in mapping.signs, _rule(mapping)

    def read(text: str) -> str:
        if is_usual and _PLAIN.match(text):
            return text
        amount_match = match(text)
        if amount_match is None:
            raise FieldError(name, rule)
        if mapping.symbols and all(amount_match.group("before", "behind")):
            raise FieldError(name, "must have one symbol at most")
        number = amount_match["number"]
        if not mapping.reads_thousands and _is_readable_in_two_ways(number, decimal):
            raise FieldError(
                name, f"{number} can be read in two ways: say thousands in the mapping, empty where no mark parts them"
            )
        digits = re.sub(rf"[^\d{re.escape(decimal)}]", "", number).replace(decimal, ".")
        return _sign(name, amount_match, mapping) + digits

    return read


def _rule(mapping: FieldMapping) -> str:
    if mapping.unit == "minor":
        return f"must be whole minor units, written like 1{mapping.thousands}234"
    if mapping.thousands or mapping.decimal != ".":
        return f"must be an amount written like 1{mapping.thousands}234{mapping.decimal}50"
    return AMOUNT_RULE


def _pattern(mapping: FieldMapping) -> re.Pattern[str]:
    """An amount with its signs, its symbol and its marks. Only the digits of ASCII count."""
    mark = _mark(mapping.thousands)
    grouped = rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+|" if mark else ""  # nobody groups behind a zero
    places = "" if mapping.unit == "minor" else rf"(?:{re.escape(mapping.decimal)}[0-9]+)?"
    symbols = "|".join(re.escape(currency_symbol) for currency_symbol in sorted(mapping.symbols, key=len, reverse=True))
    symbol = f"(?:(?P<before>{symbols}){_BLANK}*)?" if symbols else ""
    behind = f"(?:{_BLANK}*(?P<behind>{symbols}))?" if symbols else ""
    words = "|".join(re.escape(sign_word) for sign_word in sorted(mapping.signs, key=len, reverse=True) if sign_word)
    word = f"(?:{_BLANK}*(?P<word>{words}))?" if words else ""
    sign = rf"[+{re.escape(_MINUS)}]"
    return re.compile(
        rf"(?P<open>\()?{_BLANK}*(?P<first>{sign})?{_BLANK}*{symbol}(?P<second>{sign})?{_BLANK}*"
        rf"(?P<number>(?:{grouped}[0-9]+){places})(?:{_BLANK}*(?P<third>{sign}))?{behind}(?:{_BLANK}*(?P<last>{sign}))?"
        rf"{word}{_BLANK}*(?P<close>\))?\Z"
    )


def _mark(thousands: str) -> str:
    """The pattern of a mark between thousands: one blank is like another, and one apostrophe like the other."""
    if not thousands:
        return ""
    kin = next((kind for kind in (_MARK_BLANKS, _APOSTROPHES) if thousands in kind), thousands)
    return f"[{re.escape(kin)}]"


def _sign(name: str, amount_match: re.Match[str], mapping: FieldMapping) -> str:
    """The sign of an amount, which is said once at most: ``-5``, ``5-``, ``(5)`` or with a word of the mapping. One
    without any has the sign of the empty word, if the mapping has that.
    """
    said = [sign for sign in amount_match.group("first", "second", "third", "last") if sign]
    if amount_match["open"] or amount_match["close"]:
        if not (amount_match["open"] and amount_match["close"]):
            raise FieldError(name, "must have both parentheses or none")
        said.append("-")
    if word := amount_match.groupdict().get("word"):
        said.append(mapping.signs[word])
    if len(said) > 1:
        raise FieldError(name, "must have one sign at most")
    return "-" if (said[0] if said else mapping.signs.get("", "+")) in _MINUS else ""


def _is_readable_in_two_ways(number: str, decimal: str) -> bool:
    """Return whether the one mark could part thousands: ``1.230`` is more than one here, and more than a thousand
    there.
    """
    whole, mark, places = number.partition(decimal)
    return bool(mark) and len(places) == _GROUP and len(whole) <= _GROUP and not whole.startswith("0")


def _from_minor(name: str, getter: Getter, currency: Getter) -> Getter:
    def read(fields: Fields) -> str | None:
        text = getter(fields)
        if text is None:
            return None
        code = currency(fields)
        if code is None:
            raise FieldError("currency", "is required")
        return _major(name, text, code, decimal_places(code))

    return read


def _major(name: str, text: str, currency: str, places: int) -> str:
    """Whole minor units as an amount: 1234 is 12.34 ZAR, 1234.00 JPY, and 1.234 KWD, which is more than can be kept."""
    match = _WHOLE.match(text)
    if match is None:
        raise FieldError(name, "must be a whole number of minor units")
    digits = match[2].zfill(places + 1)
    whole, fraction = digits[: len(digits) - places].lstrip("0") or "0", digits[len(digits) - places :]
    kept, lost = fraction[:_KEPT_PLACES].ljust(_KEPT_PLACES, "0"), fraction[_KEPT_PLACES:]
    if lost.strip("0"):
        raise FieldError(name, f"must have two decimal places at most: {text} minor units of {currency} have {places}")
    return f"{match[1]}{whole}.{kept}"


def _without_zeros(text: str) -> str:
    """Leave out zeros after the second decimal place: `ledger.money` takes two. 150.0050 stays, to be refused."""
    match = _TRAILING_ZEROS.match(text) if text[-1:] == "0" else None
    return match[1] if match else text
