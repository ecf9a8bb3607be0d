"""MobileMart's statement `FULCRUM.MERCHANT.<NAME>.RECON.<DATETIME>.txt`, read strictly.

Header, body, and a footer that counts all lines. tenderPAN is a card number: its field is never decoded, and no error
shows what a line holds. Barcode, serial number, units and municipality are not kept either; of the telephone, account
or meter number only the last four characters are. The day is the header's; DATETIME says when the file was made.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from config.suppliers import MobileMartSettings
from ledger.transactions import Supplier, VasType
from suppliers.money import CURRENCY
from suppliers.statement import ParsedStatement, StatementError, canonical, finish, masked_account
from suppliers.statement_text import Block, blocks, open_text, parse_day

NAME: Final = Supplier.MOBILEMART.value
FILE_NAME: Final = re.compile(r"FULCRUM\.MERCHANT\.(?P<merchant>[^.]+)\.RECON\.(?P<made>[0-9]{14})\.txt")
VERSION: Final = "1"
COLUMNS: Final = (
    "D", "vasType", "vasCategory", "provider", "fulcrumTxnId", "merchantTxnId", "txnType", "txnStatus", "date", "time",
    "tenderType", "amount", "barcode", "productName", "serialNumber", "msisdn", "accountNumber", "meterNumber",
    "unitType", "units", "municipality", "freeBasicElectricity", "fbeUnits", "tenderPAN",
)  # fmt: skip  # in the order of the format
_KEPT = (
    "vasType", "fulcrumTxnId", "merchantTxnId", "txnType", "txnStatus", "date", "time", "amount", "productName",
    "msisdn", "accountNumber", "meterNumber",
)  # fmt: skip  # in the order of the format
VAS_TYPES: Final = {
    "Airtime": VasType.AIRTIME.value,
    "Data": VasType.DATA.value,
    "Voucher": VasType.VOUCHER_TOPUP.value,
    "Utility": VasType.ELECTRICITY.value,
    "BillPayment": VasType.BILL_PAYMENT.value,
}
KINDS: Final = {"Purchase": "purchase", "Reversal": "reversal", "Refund": "refund"}


def parse(content: bytes, name: str, settings: MobileMartSettings) -> ParsedStatement:
    """The statement in ``content``, a file called ``name``. Raises StatementError at the first rule that is broken."""
    made = _made(name, settings)
    text = open_text(content, name)
    count = text.count(b"\n")
    if count < 2:
        raise StatementError(name, "must have a header and a footer", line=1)
    body, footer = text.index(b"\n") + 1, text.rfind(b"\n", 0, len(text) - 1) + 1
    day = _day(text[:body], name)
    if made.date() < day:
        raise StatementError(name, "was made before the day that it is of", field="name")
    _check_count(text[footer:], count, name)
    tables = [_table(block, day, settings) for block in blocks(text, name, body, footer, first_line=2)]
    return finish(NAME, name, day, content, tables, "fulcrumTxnId")


def _made(name: str, settings: MobileMartSettings) -> datetime:
    """Return when the file says that it was made: CCYYMMDDHHMMSS, minutes and not the month again."""
    name_parts = FILE_NAME.fullmatch(name)
    if name_parts is None:
        raise StatementError(name, "must be called FULCRUM.MERCHANT.<NAME>.RECON.<CCYYMMDDHHMMSS>.txt")
    if name_parts["merchant"] != settings.merchant_name:
        raise StatementError(name, f"is not the statement of {settings.merchant_name}", field="name")
    try:
        return datetime.strptime(name_parts["made"], "%Y%m%d%H%M%S")  # noqa: DTZ007  # only its day is looked at
    except ValueError:
        raise StatementError(name, "is not a date and time", field="name") from None


def _day(header: bytes, name: str) -> date:
    parts = _fields(header, name, 1)
    if len(parts) != 3 or parts[0] != "H":
        raise StatementError(name, "must be H|version|CCYYMMDD", line=1)
    if parts[1] != VERSION:
        raise StatementError(name, f"must be {VERSION}, the only one that is known", line=1, field="version")
    return parse_day(parts[2], name, "header date", 1)


def _check_count(footer: bytes, lines: int, name: str) -> None:
    parts = _fields(footer, name, lines)
    if len(parts) != 2 or parts[0] != "T" or re.fullmatch(r"[1-9][0-9]{0,9}", parts[1]) is None:
        raise StatementError(name, "must be T|count: the file is cut off", line=lines)
    if int(parts[1]) != lines:
        raise StatementError(name, f"the file has {lines} lines, header and footer included", line=lines, field="count")


def _fields(line: bytes, name: str, number: int) -> list[str]:
    try:
        return line.rstrip(b"\r\n").decode("ascii").split("|")
    except UnicodeDecodeError:
        raise StatementError(name, "must be plain ASCII", line=number) from None


def _table(block: Block, day: date, settings: MobileMartSettings) -> pa.Table:
    lines = block.lines()
    block.refuse(pc.invert(pc.starts_with(lines, "D|")), None, "must be a line D between header and footer")
    wrong_count = pc.not_equal(pc.count_substring(lines, "|"), len(COLUMNS) - 1)
    block.refuse(wrong_count, None, f"must have {len(COLUMNS)} fields")
    cells = block.columns(COLUMNS, _KEPT, "|", quoted=False)
    block.day(cells["date"], f"{day:%Y%m%d}", r"([0-9]{4})([0-9]{2})([0-9]{2})", "date")
    block.require(cells["time"], r"^[0-9]{6}$", "time", "must be HHMMSS")
    kind = block.words(cells["txnType"], settings.statement_kinds, "txnType")
    paid = pc.equal(kind, "payout")
    amount = block.cents(cells["amount"], "amount")
    block.refuse(pc.and_(pc.equal(kind, "purchase"), pc.less(amount, 0)), "amount", "must be 0 or more for a purchase")
    statuses = {"Successful": "completed", "Binned": settings.statement_binned}
    columns = {
        "line_no": block.numbers(len(lines)),
        "supplier_transaction_id": block.identifiers(cells["fulcrumTxnId"], r"^[A-Za-z0-9-]{1,64}$", "fulcrumTxnId"),
        "reference": block.identifiers(cells["merchantTxnId"], r"^[!-{}~]{1,64}$", "merchantTxnId"),
        "kind": kind,
        "status": block.words(cells["txnStatus"], statuses, "txnStatus"),
        "occurred_at": block.moments(cells["time"], day, "time"),
        "vas_type": block.words(cells["vasType"], VAS_TYPES, "vasType"),
        "product_code": _product_codes(cells["productName"], settings.statement_products),
        "product_name": block.product_names(cells["productName"], "productName"),
        "amount": amount,
        "account": _account(cells),
        "raw_status": cells["txnStatus"],
        "payout_reference": pc.if_else(paid, cells[settings.statement_payout], pa.scalar(None, pa.string())),
    }
    return canonical(columns, rows=len(lines), supplier=NAME, day=day, currency=CURRENCY)


def _product_codes(names: pa.Array, codes: Mapping[str, str]) -> pa.Array:
    """The code that is set for a product's name; NULL for one that is not named."""
    places = pc.index_in(names, pa.array(list(codes), pa.string()))
    return pa.array(list(codes.values()), pa.string()).take(places)


def _account(cells: dict[str, pa.Array]) -> pa.Array:
    """The customer's account: the meter, else the account, else the telephone number, masked."""
    return pc.coalesce(*(masked_account(cells[name]) for name in ("meterNumber", "accountNumber", "msisdn")))
