"""A canonical table as Peach's answer."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from config.suppliers import PeachSettings
from suppliers.peach.statement import file_name
from suppliers.statement_writer import column, joined, text


def write(table: pa.Table, day: date, settings: PeachSettings | None = None) -> tuple[str, bytes]:
    """Name and content."""
    names = (settings or PeachSettings()).statement_fields
    moments = pc.strftime(column(table, "occurred_at").cast(pa.timestamp("ms")), "%Y-%m-%dT%H:%M:%S+00:00")
    settlement = column(table, "payout_reference")
    optional = pc.if_else(
        pc.is_null(settlement),
        "null",
        pc.binary_join_element_wise('"', pc.coalesce(settlement, pa.scalar("")), '"', ""),
    )
    quoted = {
        "id": text(table, "supplier_transaction_id"),
        "reference": text(table, "reference"),
        "amount": text(table, "amount"),
        "currency": text(table, "currency"),
        "status": text(table, "raw_status"),
        "occurred_at": moments,
    }
    parts: list[pa.Array | str] = ["{"]
    for name, values in quoted.items():
        parts += [f'"{names[name]}":"', values, '",']  # type: ignore[index]  # its keys are the fields
    parts += [f'"{names["settlement_reference"]}":', optional, "}"]
    rows = joined(parts, "") if table.num_rows else []
    return file_name(day), f"[{','.join(rows)}]".encode()
