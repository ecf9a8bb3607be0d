"""Rows for the API's tests: bodies to post, and rows put straight into a month of any tier."""

import random
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from api.transactions.statements import columns_of
from config import Settings
from ledger.identifiers import new_id, truncate_ms
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.transactions import new_transaction
from sql.connection import connect
from sql.partitions import ensure_partition
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month

BODY: dict[str, Any] = {
    "user_id": "user-1",
    "wallet_id": "wallet-1",
    "type": "payment",
    "amount": "120.50",
    "currency": "ZAR",
}
VAS_BODY: dict[str, Any] = {**BODY, "supplier": "flash", "vas_type": "airtime"}
BODIES = {"/api/v1/transactions": BODY, "/api/v1/vas-transactions": VAS_BODY}
PATHS = tuple(BODIES)


def keyed(key: str | None = None) -> dict[str, str]:
    """The header that names a request; a fresh name by default."""
    return {"Idempotency-Key": key or uuid4().hex}


class Ledger:
    """The database behind an API under test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def table(self, path: str) -> TieredTable:
        """The table behind an address."""
        return self.settings.table(path.rsplit("/", 1)[1].replace("-", "_"))

    def add(self, table: TieredTable, moments: list[datetime], **changes: Any) -> list[dict[str, Any]]:
        """Put one completed row at each moment, past the API, making its partition; returns them as stored."""
        rows = self.rows(table, moments, **changes)
        with connect(self.settings.database_dsn, "tests") as connection:
            for month in {Month.of(row["created_at"]) for row in rows}:
                ensure_partition(connection, self.settings, table, month)
        self.store(table, rows)
        return rows

    def far(self, table: TieredTable, moment: datetime, times: dict[str, str], **changes: Any) -> list[dict[str, Any]]:
        """As `add`, of one row with ``times`` that Python has not, as PostgreSQL writes them."""
        (row,) = self.rows(table, [moment], **changes)
        with connect(self.settings.database_dsn, "tests") as connection:
            ensure_partition(connection, self.settings, table, Month.of(moment))
        self.store(table, [row | times])
        return [row]

    def execute(self, statement: str) -> None:
        """Run a statement as the owner of the tables."""
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            connection.execute(statement)

    def rows(self, table: TieredTable, moments: list[datetime], **changes: Any) -> list[dict[str, Any]]:
        """One completed row for each moment, not stored yet."""
        body = VAS_BODY if table.name == "vas_transactions" else BODY
        given = {"client_id": "acme", "status": "completed", **body, **changes}
        rows = []
        for moment in moments:
            created_at = truncate_ms(moment)
            row = new_transaction(table, given)
            row |= {"id": new_id(created_at, random.getrandbits), "created_at": created_at, "updated_at": created_at}
            rows.append(row)
        return rows

    def warm(self, table: TieredTable, month: Month) -> None:
        """Move a month to warm."""
        assert warm_month(self.settings, table, month)

    def cold(self, table: TieredTable, month: Month) -> None:
        """Move a month through warm to cold."""
        self.warm(table, month)
        self.archive(table, month)

    def archive(self, table: TieredTable, month: Month) -> None:
        """Move a warm month to cold."""
        archive_month(self.settings, table, month)

    def store(self, table: TieredTable, rows: list[dict[str, Any]]) -> None:
        """Put rows into the partitions that there are, past the API."""
        names = columns_of(table)
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table.hot_parent),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(map(sql.Placeholder, names)),
        )
        with psycopg.connect(self.settings.database_dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(statement, rows)
