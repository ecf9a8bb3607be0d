"""A canonical table as MobileMart's file."""

from collections.abc import Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from suppliers.mobilemart.statement import COLUMNS, KINDS, VAS_TYPES, VERSION
from suppliers.statement_text import local_time
from suppliers.statement_writer import cents, column, empty, file, joined, text, words

_ACCOUNTS = {"electricity": "meterNumber", "bill_payment": "accountNumber"}  # elsewhere it is a telephone number


def write(table: pa.Table, day: date, merchant: str = "DEMO") -> tuple[str, bytes]:
    """Name and content, as if made in the day's last second."""
    columns: Mapping[str, pa.Array] = {
        "D": pa.repeat("D", table.num_rows),
        "vasType": words(column(table, "vas_type"), {ours: word for word, ours in VAS_TYPES.items()}),
        "fulcrumTxnId": text(table, "supplier_transaction_id"),
        "merchantTxnId": text(table, "reference"),
        "txnType": words(column(table, "kind"), {ours: word for word, ours in KINDS.items()}),
        "txnStatus": text(table, "raw_status"),
        "date": pa.repeat(f"{day:%Y%m%d}", table.num_rows),
        "time": local_time(column(table, "occurred_at"), "%H%M%S"),
        "amount": cents(column(table, "amount")),
        "productName": text(table, "product_name"),
        **_accounts(table),
    }
    body = joined([columns.get(name, empty(table)) for name in COLUMNS], "|")
    lines = [f"H|{VERSION}|{day:%Y%m%d}", *body, f"T|{table.num_rows + 2}"]
    return f"FULCRUM.MERCHANT.{merchant}.RECON.{day:%Y%m%d}235959.txt", file(lines)


def _accounts(table: pa.Table) -> dict[str, pa.Array]:
    """The customer's account, in the field of its kind."""
    account, vas_type = text(table, "account"), column(table, "vas_type")
    in_own = {field: pc.if_else(pc.equal(vas_type, kind), account, pa.scalar("")) for kind, field in _ACCOUNTS.items()}
    elsewhere = pc.if_else(pc.is_in(vas_type, pa.array(list(_ACCOUNTS))), pa.scalar(""), account)
    return in_own | {"msisdn": elsewhere}
