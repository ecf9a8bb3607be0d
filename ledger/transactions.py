"""The definition of a transaction: its fields and their rules, its statuses and how they may follow each other.

The API and the importer both build rows through `new_transaction`, so a rule is written once. Rows that reach
PostgreSQL have passed here; the CHECKs there repeat the rules that must hold whoever writes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import Any

import msgspec

from ledger import column_checks
from ledger.column_checks import Check, Column, NotWell
from ledger.currencies import CURRENCIES, WITHOUT_CENTS, check_currency
from ledger.errors import FieldError
from ledger.identifiers import truncate_ms
from ledger.money import check_places, parse_amount, parse_not_negative, parse_positive
from ledger.names import check_name
from ledger.tables import TieredTable

METADATA_BYTES = 4096
METADATA_DEPTH = 5
_LARGEST_NUMBER = 10**15
_MOST_PLACES = 30

# Control characters and lone surrogates: PostgreSQL refuses some, terminals and CSV readers suffer from the rest.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_JSON = re.compile("[\x00\ud800-\udfff]")
_PLAIN = frozenset({str, bool, type(None)})
_ESCAPED_NUL = b"\\u0000"  # or a backslash and u0000, which is looked at more closely for that
_MOBILE = re.compile(r"\+?\d{9,15}\Z", re.ASCII)


class TransactionType(StrEnum):
    """The type of a transaction."""

    SEND = "send"
    RECEIVE = "receive"
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    TRANSFER = "transfer"
    PAYMENT = "payment"
    REFUND = "refund"
    FEE = "fee"


class Status(StrEnum):
    """The status of a transaction. The last four are terminal: the row never changes again."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REVERSED = "reversed"


class Supplier(StrEnum):
    """The supplier of a value-added service. The settings may add suppliers to these."""

    FLASH = "flash"
    MOBILEMART = "mobilemart"
    PEACH = "peach"


SUPPLIERS: tuple[str, ...] = tuple(supplier.value for supplier in Supplier)
SUPPLIER_NAME_RULE = "a letter, then at most 15 small letters, digits and underscores"
_SUPPLIER_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}\Z")


def is_supplier_name(name: str) -> bool:
    """Return whether a supplier may be called ``name``: the rule that PostgreSQL holds, too."""
    return _SUPPLIER_NAME.match(name) is not None


class VasType(StrEnum):
    """The type of a value-added service."""

    AIRTIME = "airtime"
    DATA = "data"
    ELECTRICITY = "electricity"
    BILL_PAYMENT = "bill_payment"
    CASH_OUT = "cash_out"
    VOUCHER_TOPUP = "voucher_topup"


# Status moves only forward. A completed transaction is undone by a new row (refund), never by a change.
NEXT_STATUSES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.REVERSED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.REVERSED: frozenset(),
}


def may_follow(current: Status, wanted: Status) -> bool:
    """Return whether a transaction may go from ``current`` to ``wanted``."""
    return wanted in NEXT_STATUSES[current]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The rule of a field. ``check`` takes name and value, gives the value in its exact type, or raises FieldError.

    ``check_column`` does the same for many values at once, where that is cheaper: `ledger.column_checks`.
    """

    check: Callable[[str, Any], Any]
    check_column: Check | None = None

    def column(self, field: str, values: Column) -> Column:
        """All of ``values``, none of them None. Raises FieldError or NotWell when `check` would refuse any."""
        if self.check_column is not None:
            return self.check_column(values)
        return [self.check(field, value) for value in values]


def _string(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FieldError(field, "must be a string")
    return value


def _text(longest: int) -> FieldRule:
    def check(field: str, value: Any) -> str:
        text = _string(field, value)
        if not 1 <= len(text) <= longest:
            raise FieldError(field, f"must have 1 to {longest} characters")
        if _UNPRINTABLE.search(text):
            raise FieldError(field, "must have no control characters")
        return text

    return FieldRule(check, column_checks.texts(longest, _UNPRINTABLE))


def _check_name(field: str, value: Any) -> str:
    return check_name(field, _string(field, value))


def _one_of(choices: Iterable[str]) -> FieldRule:
    values = frozenset(str(choice) for choice in choices)
    rule = f"must be one of {', '.join(str(choice) for choice in choices)}"

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise FieldError(field, rule)
        return value

    return FieldRule(check, column_checks.among(values))


@cache
def _supplier_rule(known: tuple[str, ...]) -> FieldRule:
    return _one_of(known)


def _money(parse: Callable[[str, str], Decimal], may_be: Callable[[Decimal], bool]) -> FieldRule:
    return FieldRule(lambda field, value: parse(field, _string(field, value)), column_checks.amounts(may_be))


def _check_currency(field: str, value: Any) -> str:
    return check_currency(field, _string(field, value))


def _mobile(field: str, value: Any) -> str:
    text = _string(field, value)
    if not _MOBILE.match(text):
        raise FieldError(field, "must be 9 to 15 digits, optionally after a +")
    return text


def _instant(field: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise FieldError(field, "must be a date and time with an offset")
    return truncate_ms(value)


def _metadata(field: str, value: Any) -> str:
    """The metadata as JSON text, every number with every digit that was given, and written out as jsonb will write it.

    So the bound in bytes holds for what is stored, too: jsonb knows no exponents, and 1e100 would be 101 digits.
    """
    if not isinstance(value, dict):
        raise FieldError(field, "must be a JSON object")
    text = _plain_json(value) or msgspec.json.encode(_exact_json(field, value, METADATA_DEPTH))
    if len(text) > METADATA_BYTES:
        raise FieldError(
            field, f"must have at most {METADATA_BYTES} bytes as JSON, with numbers written without exponents"
        )
    return text.decode()


def _plain_json(value: dict[Any, Any]) -> bytes | None:
    """The JSON of most metadata, flat and without numbers, where nothing can be wrong but its size; None for other."""
    if not _PLAIN.issuperset(map(type, value)) or not _PLAIN.issuperset(map(type, value.values())):
        return None
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return None if _ESCAPED_NUL in text else text


def _exact_json(field: str, value: Any, depth: int) -> Any:
    """``value`` with its fractions as the text that stands for them. Raises FieldError."""
    if depth == 0:
        raise FieldError(field, f"must be nested at most {METADATA_DEPTH} levels deep")
    if isinstance(value, str):
        if _NOT_IN_JSON.search(value):
            raise FieldError(field, "must have no NUL characters and no lone surrogates")
        return value
    if isinstance(value, dict):
        return {_exact_json(field, name, depth): _exact_json(field, item, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact_json(field, item, depth - 1) for item in value]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _exact_number(field, value)
    return value


def _exact_number(field: str, value: float | Decimal) -> msgspec.Raw:
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number.is_finite() or not -_LARGEST_NUMBER <= number <= _LARGEST_NUMBER:
        raise FieldError(field, f"must have finite numbers between -{_LARGEST_NUMBER} and {_LARGEST_NUMBER}")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -_MOST_PLACES <= exponent <= _MOST_PLACES:
        raise FieldError(field, f"must have numbers with at most {_MOST_PLACES} decimal places")
    return msgspec.Raw(format(number, "f").encode())


_name = FieldRule(_check_name, column_checks.names)
_REQUIRED: Mapping[str, FieldRule] = {
    "client_id": _name,
    "user_id": _name,
    "wallet_id": _name,
    "type": _one_of(TransactionType),
    "amount": _money(parse_positive, lambda least: least > 0),
    "currency": FieldRule(_check_currency, column_checks.among(CURRENCIES)),
}
_OPTIONAL: Mapping[str, tuple[FieldRule, Any]] = {
    "counterparty_wallet_id": (_name, None),
    "status": (_one_of(Status), Status.PENDING.value),
    "fee": (_money(parse_not_negative, lambda least: least >= 0), Decimal("0.00")),
    "reference": (_text(128), None),
    "description": (_text(512), None),
    "metadata": (FieldRule(_metadata), "{}"),
}
_VAS_REQUIRED: Mapping[str, FieldRule] = {**_REQUIRED, "supplier": _one_of(SUPPLIERS), "vas_type": _one_of(VasType)}
_VAS_OPTIONAL: Mapping[str, tuple[FieldRule, Any]] = {
    **_OPTIONAL,
    "supplier_product_id": (_name, None),
    "supplier_reference": (_text(128), None),
    "supplier_transaction_id": (_text(128), None),
    "commission": (_money(parse_amount, lambda _: True), Decimal("0.00")),
    "mobile_number": (FieldRule(_mobile), None),
    "processed_at": (FieldRule(_instant), None),
}
_MONEY = frozenset({"amount", "fee", "commission"})
_FIELDS = {"transactions": (_REQUIRED, _OPTIONAL), "vas_transactions": (_VAS_REQUIRED, _VAS_OPTIONAL)}


def field_names(table: TieredTable) -> tuple[str, ...]:
    """The fields of a new row of ``table`` that the caller gives, in the order of `new_transaction`'s result."""
    required, optional = _FIELDS[table.name]
    return (*required, *optional)


def required_fields(table: TieredTable) -> tuple[str, ...]:
    """The fields of a new row of ``table`` that must not be absent."""
    return tuple(_FIELDS[table.name][0])


def new_transaction(
    table: TieredTable, values: Mapping[str, Any], suppliers: Sequence[str] = SUPPLIERS, at: datetime | None = None
) -> dict[str, Any]:
    """Check the values of a new row and give it back complete, in exact types, defaults filled in.

    ``suppliers`` are the names of those that there are. ``at`` (aware) is the time of a row of the past, whose currency
    may have ended since.

    ``values`` holds strings (money too: a decimal string), a dict for ``metadata``, an aware datetime for
    ``processed_at``; None counts as absent. ``id``, ``created_at`` and ``updated_at`` are not among them: the caller
    sets those. ``metadata`` comes back as JSON text. Raises FieldError for the first field that breaks its rule.
    """
    required, optional = _FIELDS[table.name]
    for name in values:
        if name not in required and name not in optional:
            raise FieldError(name, "is not a field of a transaction")
    row: dict[str, Any] = {}
    code = values.get("currency")
    past = at if isinstance(code, str) and code not in CURRENCIES else None  # an active currency needs no time
    for name, rule in required.items():
        value = values.get(name)
        if value is None:
            raise FieldError(name, "is required")
        row[name] = _of_row(name, rule, suppliers, past).check(name, value)
    for name, (rule, default) in optional.items():
        value = values.get(name)
        row[name] = default if value is None else rule.check(name, value)
    if row["currency"] in WITHOUT_CENTS:
        _check_places(row)
    return row


def _check_places(row: Mapping[str, Any]) -> None:
    for name in sorted(_MONEY.intersection(row)):
        check_places(name, row[name], row["currency"])


def new_columns(
    table: TieredTable, values: Sequence[Mapping[str, Any]], suppliers: Sequence[str] = SUPPLIERS
) -> dict[str, Column] | None:
    """The rows that `new_transaction` makes of each of ``values``, as columns in its order, checked column by column.

    None when it would raise FieldError for any of them: it must be asked for each, to name which one and why.
    """
    required, optional = _FIELDS[table.name]
    if not (required.keys() | optional.keys()).issuperset(chain.from_iterable(values)):
        return None
    columns: dict[str, Column] = {}
    try:
        for name, rule in required.items():
            cells = [row.get(name) for row in values]
            if None in cells:
                return None
            columns[name] = _of_row(name, rule, suppliers).column(name, cells)
        for name, (rule, default) in optional.items():
            columns[name] = _filled(name, rule, default, [row.get(name) for row in values])
        _check_column_places(columns)
    except (NotWell, FieldError):
        return None
    return columns


def _check_column_places(columns: Mapping[str, Column]) -> None:
    """Raises FieldError when an amount has decimal places that its currency has not."""
    if WITHOUT_CENTS.isdisjoint(columns["currency"]):
        return
    for name in sorted(_MONEY.intersection(columns)):
        for value, currency in zip(columns[name], columns["currency"], strict=True):
            check_places(name, value, currency)


def _of_row(name: str, rule: FieldRule, suppliers: Sequence[str], at: datetime | None = None) -> FieldRule:
    """The rule of a field that depends on more than its value; ``rule`` for every other field."""
    if name == "supplier":
        return _supplier_rule(tuple(suppliers))
    return rule if at is None or name != "currency" else _currency_rule(at)


def _currency_rule(at: datetime) -> FieldRule:
    return FieldRule(lambda field, value: check_currency(field, _string(field, value), at))


def _filled(name: str, rule: FieldRule, default: Any, cells: Column) -> Column:
    absent = cells.count(None)
    if absent == len(cells):
        return [default] * len(cells)
    if not absent:
        return rule.column(name, cells)
    checked = iter(rule.column(name, [value for value in cells if value is not None]))
    return [default if value is None else next(checked) for value in cells]
