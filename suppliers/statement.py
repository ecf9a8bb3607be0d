"""The canonical statement: what every supplier's statement file becomes, and what reconciliation reads.

Amounts are exact and in rand (or the line's currency). ``occurred_at`` is an instant in UTC at millisecond precision,
``settlement_date`` the Africa/Johannesburg day that the statement is of. ``reference`` is our own reference as the
supplier repeats it; ``account`` is masked; ``raw_status`` is the supplier's own word.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from ledger.card_finder import MASK, mask_card_numbers
from ledger.errors import DataError
from ledger.masking import cut

_NAME_LIMIT = 120
_SHORTEST_SHOWN = 7
_MONEY = ("amount", "fee", "commission", "net")
STATEMENT_SCHEMA = pa.schema(
    [
        pa.field("line_no", pa.int32(), nullable=False),
        pa.field("supplier", pa.string(), nullable=False),
        pa.field("supplier_transaction_id", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("occurred_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("settlement_date", pa.date32(), nullable=False),
        pa.field("vas_type", pa.string()),
        pa.field("product_code", pa.string()),
        pa.field("product_name", pa.string()),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("amount", pa.decimal128(18, 2), nullable=False),
        pa.field("fee", pa.decimal128(18, 4)),
        pa.field("commission", pa.decimal128(18, 4)),
        pa.field("net", pa.decimal128(18, 4)),
        pa.field("account", pa.string()),
        pa.field("raw_status", pa.string(), nullable=False),
        pa.field("payout_reference", pa.string()),
    ]
)


class StatementError(DataError):
    """A statement is refused whole. Names the file, and the line and the field where there are such.

    It never repeats the value: that may be a card number or somebody's telephone number.
    """

    def __init__(self, name: str, rule: str, *, line: int | None = None, field: str | None = None) -> None:
        numbered = [f"line {line}"] if line is not None else []
        place = [cut(mask_card_numbers(name), _NAME_LIMIT), *numbered, *([field] if field else [])]
        super().__init__(": ".join((*place, rule)))
        self.line = line
        self.field = field
        self.rule = rule


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One statement that kept every rule: ``table`` has `STATEMENT_SCHEMA`, ``sha256`` is of the file as it came."""

    supplier: str
    name: str
    day: date
    table: pa.Table
    sha256: bytes

    @property
    def totals(self) -> list[dict[str, str | int | None]]:
        """Lines and sums by kind, status and currency, in that order; money as exact decimal text."""
        keys = ["kind", "status", "currency"]
        sums = [(name, "sum") for name in _MONEY]
        grouped = (
            self.table.group_by(keys)
            .aggregate([("line_no", "count"), *sums])
            .sort_by([(key, "ascending") for key in keys])
        )
        return [
            {key: row[key] for key in keys}
            | {"lines": row["line_no_count"]}
            | {name: None if row[f"{name}_sum"] is None else f"{row[f'{name}_sum']:f}" for name in _MONEY}
            for row in grouped.to_pylist()
        ]


def finish(
    supplier: str,
    name: str,
    day: date,
    content: bytes,
    columns: Sequence[pa.Table],
    identifier: str = "supplier_transaction_id",
) -> ParsedStatement:
    """The statement of the parsed blocks, after the rules that look at all lines together. ``identifier`` is what the
    file calls the supplier's transaction id.

    Raises StatementError for an identifier of the supplier that appears twice under the same kind.
    """
    table = pa.concat_tables(columns) if columns else STATEMENT_SCHEMA.empty_table()
    refuse_repeated(table, name, "supplier_transaction_id", identifier)
    return ParsedStatement(supplier, name, day, table, hashlib.sha256(content).digest())


def refuse_repeated(table: pa.Table, name: str, column: str, field: str) -> None:
    """Refuse a value that appears twice in ``column`` under one kind; a reversal may repeat its purchase's. ``field``
    is what the file calls it.

    Values are only counted, which needs little memory, unless there is something to name.
    """
    for kind in pc.unique(table["kind"]):
        known = table[column].filter(pc.equal(table["kind"], kind)).drop_null()
        if pc.count_distinct(known).as_py() < len(known):
            raise StatementError(name, "appears more than once", line=_first_repeated(table, column), field=field)


def _first_repeated(table: pa.Table, column: str) -> int:
    """The line that is the last of the first ones with one value and kind."""
    known = table.select(["kind", column, "line_no"]).filter(pc.is_valid(table[column]))
    counted = known.group_by(["kind", column]).aggregate([("line_no", "count"), ("line_no", "max")])
    lines = counted.filter(pc.greater(counted["line_no_count"], 1))["line_no_max"]
    return int(pc.min(lines).as_py())


def canonical(columns: Mapping[str, pa.Array], *, rows: int, supplier: str, day: date, currency: str) -> pa.Table:
    """A canonical table of ``rows`` lines from the columns that the supplier has; the others are NULL."""
    constant = {"supplier": supplier, "settlement_date": day, "currency": currency}
    by_name = {
        name: pa.repeat(pa.scalar(value, STATEMENT_SCHEMA.field(name).type), rows) for name, value in constant.items()
    }
    by_name |= columns
    arrays = [by_name.get(field.name, pa.nulls(rows, field.type)) for field in STATEMENT_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=STATEMENT_SCHEMA)


def masked_account(account: pa.Array) -> pa.Array:
    """Only the last four characters of an account, telephone or meter number; NULL where there is none.

    What is masked already stays as it is.
    """
    short = pc.if_else(pc.less(pc.utf8_length(account), _SHORTEST_SHOWN), MASK, account)
    hidden = pc.replace_substring_regex(short, r"^.{3,}(.{4})$", rf"{MASK}\1")
    return pc.if_else(pc.equal(account, ""), pa.scalar(None, pa.string()), hidden)
