"""Rows for the tests of sql/: put straight into PostgreSQL, past every rule but the database's own."""

import random
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Identifier, Placeholder

from ledger.identifiers import new_id
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection

FEBRUARY = Month(2026, 2)
ROW: dict[str, Any] = {
    "client_id": "acme",
    "user_id": "user-1",
    "wallet_id": "wallet-1",
    "type": "payment",
    "status": "completed",
    "amount": "120.50",
    "currency": "ZAR",
}
VAS_ROW: dict[str, Any] = {**ROW, "supplier": "flash", "vas_type": "airtime"}


def add_row(connection: Connection, table: TieredTable, moment: datetime, **changes: Any) -> UUID:
    """Insert one row into the hot parent (or into ``relation``, if given); returns its id."""
    relation = changes.pop("relation", table.hot_parent)
    body = VAS_ROW if table.name == "vas_transactions" else ROW
    row = {"id": new_id(moment, random.getrandbits), "created_at": moment, "updated_at": moment, **body, **changes}
    statement = SQL("INSERT INTO {} ({}) VALUES ({})").format(
        Identifier(relation),
        SQL(", ").join(map(Identifier, row)),
        SQL(", ").join(map(Placeholder, row)),
    )
    connection.execute(statement, row)
    row_id: UUID = row["id"]
    return row_id
