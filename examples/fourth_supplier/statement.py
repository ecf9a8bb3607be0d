"""Voucherly's statement `voucherly-YYYY-MM-DD.csv`, both ways: read strictly, and written as Voucherly would write it.

Comma delimited, with a header; times of day to the second in Johannesburg; rand with four places; reference, number,
product, time, amount, commission, state.
"""

import re
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suppliers.money import CURRENCY
from suppliers.statement import ParsedStatement, StatementError, canonical, finish
from suppliers.statement_text import Block, blocks, local_time, open_text, parse_day
from suppliers.statement_writer import column, decimals, file, joined, text

from .settings import VoucherlySettings

NAME: Final = "voucherly"
FILE_NAME: Final = re.compile(r"voucherly-(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})\.csv")
COLUMNS: Final = ("reference", "number", "product", "time", "amount", "commission", "state")
STATES: Final = {"sold": "completed", "refused": "failed"}
_IDENTIFIER = r"^[A-Za-z0-9-]{1,64}$"


def parse(content: bytes, name: str, _: VoucherlySettings) -> ParsedStatement:
    """The statement in ``content``, a file called ``name``. Raises StatementError at the first rule that is broken."""
    match = FILE_NAME.fullmatch(name)
    if match is None:
        raise StatementError(name, "must be called voucherly-YYYY-MM-DD.csv")
    day = parse_day(match["day"].replace("-", ""), name, "name")
    text_ = open_text(content, name)
    body = text_.index(b"\n") + 1
    if text_[:body].rstrip(b"\r\n") != ",".join(COLUMNS).encode():
        raise StatementError(name, "is not the header that is known", line=1)
    tables = [_table(block, day) for block in blocks(text_, name, body, first_line=2)]
    return finish(NAME, name, day, content, tables, "number")


def _table(block: Block, day: date) -> pa.Table:
    lines = block.lines()
    block.require(lines, rf"^([^,\"]*,){{{len(COLUMNS) - 1}}}[^,\"]*$", None, f"must have {len(COLUMNS)} fields")
    cells = block.columns(COLUMNS, COLUMNS, ",", quoted=False)
    block.require(cells["time"], r"^[0-9]{2}:[0-9]{2}:[0-9]{2}$", "time", "must be HH:MM:SS")
    amount, commission = block.amount(cells["amount"], "amount"), block.money(cells["commission"], "commission")
    columns = {
        "line_no": block.numbers(len(lines)),
        "supplier_transaction_id": block.identifiers(cells["number"], _IDENTIFIER, "number"),
        "reference": block.identifiers(cells["reference"], _IDENTIFIER, "reference"),
        "kind": pa.repeat("purchase", len(lines)),
        "status": block.words(cells["state"], STATES, "state"),
        "occurred_at": block.moments(pc.replace_substring(cells["time"], ":", ""), day, "time"),
        "product_code": block.identifiers(cells["product"], _IDENTIFIER, "product"),
        "amount": amount,
        "commission": commission,
        "net": pc.subtract(amount, commission).cast(pa.decimal128(18, 4)),
        "raw_status": cells["state"],
    }
    return canonical(columns, rows=len(lines), supplier=NAME, day=day, currency=CURRENCY)


def write(table: pa.Table, day: date) -> tuple[str, bytes]:
    """Name and content of the file of a canonical table."""
    fields = [
        *(text(table, name) for name in ("reference", "supplier_transaction_id", "product_code")),
        local_time(column(table, "occurred_at"), "%H:%M:%S"),
        *(decimals(table, name) for name in ("amount", "commission")),
        text(table, "raw_status"),
    ]
    return f"voucherly-{day}.csv", file([",".join(COLUMNS), *joined(fields, ",")])
