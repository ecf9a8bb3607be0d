"""The canonical statement: what every supplier's statement file becomes, and what reconciliation reads.

Amounts are exact and in rand (or the line's currency), ``occurred_at`` is an instant in UTC at millisecond precision,
``settlement_date`` the Africa/Johannesburg day that the statement is of. ``reference`` is our own reference as the
supplier repeats it; ``account`` is masked; ``raw_status`` is the supplier's own word.
"""

import pyarrow as pa

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
