"""A canonical table as Flash's file."""

from datetime import date

import pyarrow as pa

from suppliers.flash.statement import COLUMNS, file_name
from suppliers.statement_text import local_time
from suppliers.statement_writer import column, decimals, empty, file, joined, quoted, text, words

_KINDS = {"purchase": "Purchase", "refund": "Refund", "reversal": "Reversal"}


def write(table: pa.Table, day: date) -> tuple[str, bytes]:
    """Name and content. Seconds are lost: its lines have none."""
    fields = [
        local_time(column(table, "occurred_at"), "%Y/%m/%d %H:%M"),
        *(text(table, name) for name in ("reference", "supplier_transaction_id")),
        words(column(table, "kind"), _KINDS),
        text(table, "product_code"),
        quoted(text(table, "product_name"), ';"'),
        text(table, "account"),
        empty(table),
        *(decimals(table, name) for name in ("amount", "fee", "commission", "net")),
        text(table, "raw_status"),
        empty(table),
    ]
    return file_name(day), file([";".join(COLUMNS), *joined(fields, ";")])
