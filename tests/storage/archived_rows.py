"""A small ledger table and months of it written as Parquet, for the tests that read archives."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from ledger.columns import Column, ColumnKind
from ledger.identifiers import new_id, truncate_ms
from ledger.months import Month
from ledger.tables import TieredTable
from storage.parquet import arrow_schema, write_parquet

TABLE = TieredTable(name="transactions")
_COLUMNS = (
    Column("id", ColumnKind.UUID, nullable=False),
    Column("client_id", ColumnKind.TEXT, nullable=False),
    Column("user_id", ColumnKind.TEXT, nullable=False),
    Column("wallet_id", ColumnKind.TEXT, nullable=False),
    Column("type", ColumnKind.TEXT, nullable=False),
    Column("status", ColumnKind.TEXT, nullable=False),
    Column("amount", ColumnKind.DECIMAL, nullable=False, precision=18, scale=2),
    Column("fee", ColumnKind.DECIMAL, nullable=False, precision=18, scale=2),
    Column("currency", ColumnKind.TEXT, nullable=False),
    Column("reference", ColumnKind.TEXT),
    Column("rate", ColumnKind.DECIMAL, precision=38, scale=10),
    Column("whole", ColumnKind.DECIMAL, precision=5, scale=0),
    Column("retries", ColumnKind.INTEGER),
    Column("flagged", ColumnKind.BOOLEAN),
    Column("settled_on", ColumnKind.DATE),
    Column("metadata", ColumnKind.JSON, nullable=False),
    Column("created_at", ColumnKind.TIMESTAMP, nullable=False),
)
COLUMNS = tuple(replace(column, field_id=number) for number, column in enumerate(_COLUMNS, 1))
Row = dict[str, Any]


def make_row(chance: random.Random, moment: datetime, **changes: Any) -> Row:
    """A row created at ``moment``, everything else left to ``chance``."""
    moment = truncate_ms(moment)
    row: Row = {
        "id": new_id(moment, chance.getrandbits),
        "client_id": chance.choice(["acme", "globex"]),
        "user_id": f"user-{chance.randrange(4)}",
        "wallet_id": f"wallet-{chance.randrange(5)}",
        "type": chance.choice(["payment", "refund"]),
        "status": chance.choice(["completed", "failed"]),
        "amount": Decimal(chance.randrange(1, 10**6)).scaleb(-2),
        "fee": Decimal(chance.randrange(100)).scaleb(-2),
        "currency": chance.choice(["ZAR", "USD"]),
        "reference": chance.choice([None, "", f"R{chance.randrange(100)}", "\U0001f600" * 100]),
        "rate": chance.choice([None, Decimal("-1234567890123456789.0123456789")]),
        "whole": chance.choice([None, Decimal(-99999), Decimal(99999)]),
        "retries": chance.choice([None, 0, -(2**63), 2**63 - 1]),
        "flagged": chance.choice([None, True, False]),
        "settled_on": chance.choice([None, moment.date()]),
        "metadata": chance.choice(["{}", '{"a": "\\u001e"}']),
        "created_at": moment,
    }
    return {**row, **changes}


def make_month(chance: random.Random, month: Month, rows: int) -> list[Row]:
    """Rows of ``month``, one at each of its ends."""
    span_s = int((month.upper - month.lower).total_seconds())
    moments = [month.lower, month.upper - timedelta(milliseconds=1)]
    moments += [month.lower + timedelta(seconds=chance.randrange(span_s)) for _ in range(rows - 2)]
    return [make_row(chance, moment) for moment in moments]


def batch_of(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> pa.RecordBatch:
    """The rows as one record batch in the archive's schema."""
    schema = arrow_schema(columns)
    arrays = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.type == pa.uuid():
            storage = pa.array([value.bytes for value in values], pa.binary(16))
            arrays.append(pa.ExtensionArray.from_storage(pa.uuid(), storage))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def write_rows(rows: Sequence[Row], target: Path, columns: Sequence[Column] = COLUMNS) -> Path:
    """Write the rows as one archived file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_parquet([batch_of(rows, columns)], columns, TABLE, target)
    return target
