"""Flash's statement `recon_YYYYMMDD.csv`, read strictly. `[?]` in what is known of it is a setting of `FlashSettings`.

Dropped while reading: the account's name and the metadata, never decoded; of the account number all but four digits.
The day is the name's, and every line must be of it. Lines have minutes, no seconds.
"""

import re
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from config.suppliers import FlashSettings
from ledger.transactions import Supplier
from suppliers.money import CURRENCY
from suppliers.statement import ParsedStatement, StatementError, canonical, finish, masked_account
from suppliers.statement_text import Block, blocks, open_text, or_null, parse_day

NAME: Final = Supplier.FLASH.value
FILE_NAME: Final = re.compile(r"recon_(?P<day>[0-9]{8})\.csv")
COLUMNS: Final = (
    "Date", "Reference", "Transaction ID", "Transaction Type", "Product Code", "Product", "Account Number",
    "Account Name", "Gross Amount", "Fee", "Commission", "Net Amount", "Status", "Metadata",
)  # fmt: skip  # in the order of the format
STATUSES: Final = {"Success": "completed", "Pending": "pending", "Failed": "failed", "Reversed": "reversed"}
_KEPT = tuple(name for name in COLUMNS if name not in ("Account Name", "Metadata"))
_FIELD = r'(?:[^;"]*|"(?:[^"]|"")*")'
_LINE = rf"^(?:{_FIELD};){{{len(COLUMNS) - 1}}}{_FIELD}$"
_DATE, _TIME = 10, 11  # where the date ends and the time begins


def file_name(day: date) -> str:
    """Return what the file of a day is called."""
    return f"recon_{day:%Y%m%d}.csv"


def parse(content: bytes, name: str, settings: FlashSettings) -> ParsedStatement:
    """The statement in ``content``, a file called ``name``. Raises StatementError at the first rule that is broken."""
    name_parts = FILE_NAME.fullmatch(name)
    if name_parts is None:
        raise StatementError(name, "must be called recon_YYYYMMDD.csv")
    day = parse_day(name_parts["day"], name, "name")
    text = open_text(content, name)
    body = text.index(b"\n") + 1
    if text[:body].rstrip(b"\r\n") != ";".join(COLUMNS).encode():
        raise StatementError(name, "is not the header that is known", line=1)
    tables = [_table(block, day, settings) for block in blocks(text, name, body, first_line=2)]
    return finish(NAME, name, day, content, tables, "Transaction ID")


def _table(block: Block, day: date, settings: FlashSettings) -> pa.Table:
    lines = block.lines()
    block.require(lines, _LINE, None, f"must have {len(COLUMNS)} fields, with quotes only around a whole field")
    cells = block.columns(COLUMNS, _KEPT, ";", quoted=True)
    status = block.words(cells["Status"], STATUSES, "Status")
    sold = pc.is_in(status, pa.array(["completed", "reversed"]))
    kind = block.words(cells["Transaction Type"], settings.statement_kinds, "Transaction Type")
    paid = pc.equal(kind, "payout")
    columns = {
        "line_no": block.numbers(len(lines)),
        "supplier_transaction_id": block.identifiers(
            cells["Transaction ID"], r"^[A-Za-z0-9-]{1,64}$", "Transaction ID", needed=sold
        ),
        "reference": block.identifiers(cells["Reference"], r"^[A-Za-z0-9.=-]{1,64}$", "Reference"),
        "kind": kind,
        "status": status,
        "occurred_at": _moments(block, cells["Date"], day),
        "product_code": block.identifiers(cells["Product Code"], r"^[A-Za-z0-9-]{1,32}$", "Product Code"),
        "product_name": block.product_names(cells["Product"], "Product"),
        "account": masked_account(cells["Account Number"]),
        "raw_status": cells["Status"],
        "payout_reference": pc.if_else(paid, or_null(cells[settings.statement_payout]), pa.scalar(None, pa.string())),
        **_money(block, cells, status, settings),
    }
    block.refuse(
        pc.and_(pc.equal(kind, "purchase"), pc.less(columns["amount"], 0)),
        "Gross Amount",
        "must be 0 or more for a purchase",
    )
    return canonical(columns, rows=len(lines), supplier=NAME, day=day, currency=CURRENCY)


def _moments(block: Block, text: pa.Array, day: date) -> pa.Array:
    block.day(pc.utf8_slice_codeunits(text, 0, _DATE), f"{day:%Y/%m/%d}", r"([0-9]{4})/([0-9]{2})/([0-9]{2})", "Date")
    clock = pc.utf8_slice_codeunits(text, _DATE)
    block.require(clock, r"^ [0-9]{2}:[0-9]{2}$", "Date", "must be YYYY/MM/DD HH:mm")
    return block.moments(pc.replace_substring(pc.utf8_slice_codeunits(text, _TIME), ":", ""), day, "Date")


def _money(block: Block, cells: dict[str, pa.Array], status: pa.Array, settings: FlashSettings) -> dict[str, pa.Array]:
    """The four amounts. Of what was or may be sold, net must be gross - commission - fee, or + fee as is set."""
    amount = block.amount(cells["Gross Amount"], "Gross Amount")
    fee, commission, net = (block.money(cells[name], name) for name in ("Fee", "Commission", "Net Amount"))
    before_fee = pc.subtract(amount, commission)
    added = settings.statement_fee == "added"
    due = pc.add(before_fee, fee) if added else pc.subtract(before_fee, fee)
    open_or_sold = pc.is_in(status, pa.array(["completed", "pending"]))
    rule = f"must be gross - commission {'+' if added else '-'} fee"
    block.refuse(pc.and_(open_or_sold, pc.not_equal(due, net)), "Net Amount", rule)
    return {"amount": amount, "fee": fee, "commission": commission, "net": net}
