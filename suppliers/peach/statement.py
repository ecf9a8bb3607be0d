"""Peach's statement: the answer of `transactions-recon` for one Johannesburg day, read strictly.

A list of objects, or an object that holds it. Only amount, settlementStatus and settlementReference are published;
the other names, and the words of the status, are settings of `PeachSettings`. Unknown fields are ignored, not kept. A
name that appears twice in one object is refused. An amount may be a number or a text: ``10.5``, ``10.50`` and
``"10.50"`` are the same. None goes through a float.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from config.suppliers import PeachSettings
from ledger.instants import INSTANT_PATTERN, INSTANT_RULE
from ledger.transactions import Supplier
from suppliers.json_parts import REPEATED_NAME, RepeatedNameError, once_each, parts
from suppliers.money import CURRENCY
from suppliers.statement import ParsedStatement, StatementError, canonical, finish, refuse_repeated
from suppliers.statement_text import Block, day_start_ms

NAME: Final = Supplier.PEACH.value
FILE_NAME: Final = re.compile(r"transactions-recon-(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})\.json")
_MONEY = r"-?(0|[1-9][0-9]{0,7})(\.[0-9]{1,2}0*)?"
_AMOUNT = rf'^({_MONEY}|"{_MONEY}")$'
_AMOUNT_RULE = "must be money with at most two decimal places"
_MOMENT = f"^{INSTANT_PATTERN}$"
_NAMED = re.compile(r"(?:missing required field `|at `\$\.)([^`]+)`")
_SETTLED = ("completed", "reversed")
_SHORTEST_SETTLEMENT = 15


def file_name(day: date) -> str:
    """Return what the answer of a day is called here."""
    return f"transactions-recon-{day:%Y-%m-%d}.json"


def parse(content: bytes, name: str, settings: PeachSettings) -> ParsedStatement:
    """The statement in ``content``, called ``name``. Raises StatementError; its line is the record's number from 1.

    Records become columns a few megabytes at a time: memory holds the text and the columns, and never all records.
    """
    day = _day(name)
    kind = _record_type(settings)
    tables, start = [], 0
    for part in parts(content, name, settings.statement_list):
        records = _decoded(part, kind, start, name)
        _refuse_repeated_names(part, records, start, name, settings)
        tables.append(_table(Block(name, b"", start + 1), records, day, settings))
        start += len(records)
    fields = settings.statement_fields
    parsed = finish(NAME, name, day, content, tables, fields["id"])
    if settings.statement_settlements == "unique":
        refuse_repeated(parsed.table, name, "payout_reference", fields["settlement_reference"])
    return parsed


def _day(name: str) -> date:
    name_parts = FILE_NAME.fullmatch(name)
    try:
        return date.fromisoformat(name_parts["day"] if name_parts else "")
    except ValueError:
        raise StatementError(name, "must be called transactions-recon-YYYY-MM-DD.json") from None


def _record_type(settings: PeachSettings) -> type[msgspec.Struct]:
    fields = settings.statement_fields
    kinds: dict[str, Any] = {"amount": msgspec.Raw}
    return msgspec.defstruct(
        "Record",
        [
            (name, kinds.get(name, str), msgspec.field(name=written))
            if name not in _OPTIONAL
            else (name, str | None, msgspec.field(name=written, default=None))
            for name, written in fields.items()
        ],
        kw_only=True,
        gc=False,
    )


_OPTIONAL = frozenset({"settlement_reference", "kind"})


def _decoded(part: bytes, kind: type[msgspec.Struct], start: int, name: str) -> Sequence[Any]:
    """The records of ``part``, a list of them as text; ``start`` is how many came before."""
    try:
        return msgspec.json.decode(part, type=list[kind])  # type: ignore[valid-type]  # made from settings
    except (msgspec.DecodeError, UnicodeDecodeError):
        records = msgspec.json.decode(part, type=list[msgspec.Raw])
        return [_decode_one(raw, kind, name, start + number) for number, raw in enumerate(records, 1)]


def _decode_one(raw: msgspec.Raw, kind: type[msgspec.Struct], name: str, number: int) -> Any:
    """One record, to name the one that is wrong. The message of msgspec names the field and never its value."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        named = _NAMED.search(str(error))
        rule = "must be there" if "missing" in str(error) else "must be a text"
        raise StatementError(name, rule if named else str(error), line=number, field=named and named[1]) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StatementError(name, "is not JSON", line=number) from None


def _refuse_repeated_names(part: bytes, records: Sequence[Any], start: int, name: str, settings: PeachSettings) -> None:
    """A decoder keeps the last of two values under one name. Where that may have happened, look at every record."""
    if b"\\" not in part and all(
        part.count(f'"{written}"'.encode()) <= _number_with(records, field)
        for field, written in settings.statement_fields.items()
    ):
        return
    for number, raw in enumerate(msgspec.json.decode(part, type=list[msgspec.Raw]), start + 1):
        try:
            json.loads(bytes(raw), object_pairs_hook=once_each)
        except RepeatedNameError:
            raise StatementError(name, REPEATED_NAME, line=number) from None
        except ValueError:
            raise StatementError(name, "is not JSON", line=number) from None


def _number_with(records: Sequence[Any], field: str) -> int:
    """Return how many records must have the name of ``field`` in their text."""
    return sum(getattr(record, field) is not None for record in records) if field in _OPTIONAL else len(records)


def _table(block: Block, records: Sequence[Any], day: date, settings: PeachSettings) -> pa.Table:
    fields = settings.statement_fields
    cells = {name: pa.array(_values(records, name), pa.string()) for name in fields if name != "amount"}
    amount = _amount(block, pa.array([bytes(record.amount) for record in records], pa.binary()), fields["amount"])
    status = block.words(cells["status"], settings.statement_statuses, fields["status"])
    block.refuse(pc.not_equal(cells["currency"], CURRENCY), fields["currency"], f"must be {CURRENCY}")
    columns = {
        "line_no": block.numbers(len(records)),
        "supplier_transaction_id": block.identifiers(cells["id"], r"^[A-Za-z0-9-]{1,64}$", fields["id"]),
        "reference": block.identifiers(cells["reference"], r"^[A-Za-z0-9._-]{1,64}$", fields["reference"]),
        "kind": _kind(block, cells.get("kind"), amount, settings),
        "status": status,
        "occurred_at": _moments(block, cells["occurred_at"], day, settings),
        "amount": amount,
        "raw_status": cells["status"],
        "payout_reference": _settlement(block, cells["settlement_reference"], status, fields["settlement_reference"]),
    }
    return canonical(columns, rows=len(records), supplier=NAME, day=day, currency=CURRENCY)


def _kind(block: Block, stated: pa.Array | None, amount: pa.Array, settings: PeachSettings) -> pa.Array:
    """Return what each entry is: as it says where the settings name the field, by the sign of its amount otherwise."""
    by_sign = pc.if_else(pc.less(amount, 0), "refund", "purchase")
    if stated is None:
        return by_sign
    known = settings.statement_kinds
    places = pc.index_in(stated, pa.array(list(known), pa.string()))
    unknown = pc.and_(pc.is_null(places), pc.is_valid(stated))
    block.refuse(unknown, settings.statement_fields["kind"], f"must be one of {', '.join(known)}")
    return pc.coalesce(pa.array(list(known.values()), pa.string()).take(places), by_sign)


def _values(records: Sequence[Any], name: str) -> Iterator[Any]:
    return (getattr(record, name) for record in records)


def _amount(block: Block, written: pa.Array, field: str) -> pa.Array:
    """The exact amounts of JSON numbers and texts. A fraction of a cent is refused; zeros after the cents are not."""
    text = written.cast(pa.string())
    block.require(text, _AMOUNT, field, _AMOUNT_RULE)
    bare = pc.replace_substring(text, '"', "")
    block.refuse(pc.match_substring_regex(bare, r"^-0(\.0+)?$"), field, _AMOUNT_RULE)
    return pc.replace_substring_regex(bare, r"(\.[0-9]{2})0+$", r"\1").cast(pa.decimal128(18, 2))


def _moments(block: Block, text: pa.Array, day: date, settings: PeachSettings) -> pa.Array:
    """Instants with an offset, to the millisecond. Each is within the day, or so many days before as is set."""
    field = settings.statement_fields["occurred_at"]
    block.require(text, _MOMENT, field, INSTANT_RULE)
    exact = _instants(block, pc.utf8_upper(text), field)
    moments = pc.floor_temporal(exact, unit="millisecond").cast(pa.timestamp("ms", tz="UTC"))
    in_ms = moments.cast(pa.int64())
    first, end = (
        day_start_ms(day - timedelta(days=settings.statement_days_before)),
        day_start_ms(day + timedelta(days=1)),
    )
    outside = pc.or_(pc.less(in_ms, first), pc.greater_equal(in_ms, end))
    block.refuse(outside, field, "is of another day than the statement")
    return moments


def _instants(block: Block, text: pa.Array, field: str) -> pa.Array:
    kind = pa.timestamp("us", tz="UTC")
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        block.refuse(
            pa.array([not _is_instant(instant, kind) for instant in text]), field, "is not a day of the calendar"
        )
        raise


def _is_instant(text: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        text.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _settlement(block: Block, text: pa.Array, status: pa.Array, field: str) -> pa.Array:
    """Return what settled it: needed where it is settled, and long enough."""
    needed = pc.is_in(status, pa.array(_SETTLED))
    filled = pc.coalesce(text, pa.scalar(""))
    return block.identifiers(filled, rf"^[A-Za-z0-9-]{{{_SHORTEST_SETTLEMENT},64}}$", field, needed=needed)
