"""Two sides of a supplier's day for the tests: rows of ours in PostgreSQL, lines of theirs in a canonical statement."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Placeholder

from config import Settings
from config.reconciliation import ReconciliationSettings
from ledger.identifiers import new_id
from ledger.months import Month
from sql.connection import connect, fetch_one
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from suppliers.statement import STATEMENT_SCHEMA
from tasks.reconciliation.closing.periods import Closing, close_period
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import RunResult, reconcile_day

DAY = date(2026, 2, 3)
NOON = datetime(2026, 2, 3, 10, 0, tzinfo=UTC)  # in Johannesburg
PARENT = "vas_transactions_partitioned"


class Books:
    """One test's books. Rows and lines are given by what matters in them; the rest is as it should be."""

    def __init__(self, settings: Settings, folder: Path, supplier: str = "flash") -> None:
        self.settings = settings
        self.folder = folder
        self.supplier = supplier
        self.lines: list[dict[str, Any]] = []
        self._months: set[Month] = set()
        self._chance = random.Random(7)  # noqa: S311  # made-up rows, no secrets
        self._number = 0

    def rules(self, **changes: Any) -> None:
        """Change what reconciliation goes by."""
        values = self.settings.reconciliation.model_dump() | changes
        rules = ReconciliationSettings.model_validate(values)
        self.settings = self.settings.model_copy(update={"reconciliation": rules})

    def own(self, **changes: Any) -> dict[str, Any]:
        """Put one row of ours into PostgreSQL."""
        self._number += 1
        created_at = changes.pop("created_at", NOON + timedelta(seconds=self._number))
        row = {
            "id": new_id(created_at, self._chance.getrandbits),
            "client_id": "acme",
            "user_id": "user-1",
            "wallet_id": "wallet-1",
            "type": "payment",
            "status": "completed",
            "amount": Decimal("100.00"),
            "currency": "ZAR",
            "reference": f"ORD-{self._number}",
            "created_at": created_at,
            "updated_at": created_at,
            "supplier": self.supplier,
            "vas_type": "airtime",
            "supplier_product_id": "311",
            "supplier_transaction_id": f"S{self._number}",
            "commission": Decimal("3.00"),
        } | changes
        self._insert(row)
        return row

    def line(self, of: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Put one line on the statement; ``of`` a row of ours it is the supplier's picture of that row."""
        self._number += of is None
        row = of or {}
        occurred_at = row.get("created_at", NOON + timedelta(seconds=self._number))
        commission = Decimal(row.get("commission", "3.00"))
        line = {
            "line_no": len(self.lines) + 1,
            "supplier": self.supplier,
            "supplier_transaction_id": row.get("supplier_transaction_id", f"S{self._number}"),
            "reference": row.get("reference", f"ORD-{self._number}"),
            "kind": "purchase",
            "status": {"processing": "pending", "cancelled": "failed"}.get(
                row.get("status", ""), row.get("status", "completed")
            ),
            "occurred_at": occurred_at,
            "settlement_date": DAY,
            "vas_type": row.get("vas_type", "airtime"),
            "product_code": row.get("supplier_product_id", "311"),
            "product_name": "1Voucher",
            "currency": row.get("currency", "ZAR"),
            "amount": row.get("amount", Decimal("100.00")),
            "fee": None,
            "commission": commission,
            "net": None,
            "account": None,
            "raw_status": "Success",
            "payout_reference": None,
        } | changes
        self.lines.append(line)
        return line

    def both(self, **changes: Any) -> dict[str, Any]:
        """A row of ours and its line, in full agreement."""
        row = self.own(**changes)
        self.line(row)
        return row

    def statement(self, day: date = DAY) -> Path:
        """Write the lines as a canonical statement of ``day`` and start the next one."""
        path = self.folder / f"{self.supplier}-{day}-{self._number}-{len(self.lines)}.parquet"
        rows = [line | {"settlement_date": day} for line in self.lines]
        columns = {field.name: pa.array([row[field.name] for row in rows], field.type) for field in STATEMENT_SCHEMA}
        pq.write_table(pa.table(columns, schema=STATEMENT_SCHEMA), path)
        self.lines = []
        return path

    def run(self, statement: Path | None = None, day: date = DAY, **changes: Any) -> RunResult:
        """Reconcile ``day``, against the lines so far or a statement that was written before."""
        path = statement or self.statement(day)
        return reconcile_day(self.settings, RunRequest(self.supplier, day, str(path), **changes))

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Ask PostgreSQL."""
        with psycopg.connect(self.settings.database_dsn, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def widen_amounts(self) -> None:
        """Give amounts four decimal places, as the table of an application may have."""
        self.sql("DROP VIEW vas_transactions")
        for parent in (PARENT, self.settings.table("vas_transactions").warm_parent):
            self.sql(f"ALTER TABLE {parent} ALTER COLUMN amount TYPE numeric(18,4)")

    def breaks(self, state: str | None = None) -> list[tuple[str, ...]]:
        """The issues of every break, in the order of their numbers; of one state or of all."""
        query = "SELECT issues FROM recon_breaks WHERE %s::text IS NULL OR state = %s ORDER BY break_id"
        return [tuple(row["issues"]) for row in self.sql(query, state, state)]

    def the_break(self) -> dict[str, Any]:
        """The only break there is."""
        (found,) = self.sql("SELECT * FROM recon_breaks")
        return found

    def records(self) -> list[tuple[str, str]]:
        """What was done about breaks, in order."""
        rows = self.sql("SELECT action, decision FROM recon_resolutions ORDER BY resolution_id")
        return [(row["action"], row["decision"]) for row in rows]

    def _insert(self, row: dict[str, Any]) -> None:
        table = self.settings.table("vas_transactions")
        month = Month.of(row["created_at"])
        with connect(self.settings.database_dsn, "tests") as connection:
            if not self._months and fetch_one(connection, "SELECT to_regclass(%s)", (table.warm_parent,))[0] is None:
                prepare_table(connection, self.settings, table)
            if month not in self._months:
                ensure_partition(connection, self.settings, table, month)
                self._months.add(month)
            names, holders = SQL(", ").join(map(Identifier, row)), SQL(", ").join(map(Placeholder, row))
            connection.execute(SQL("INSERT INTO {} ({}) VALUES ({})").format(Identifier(PARENT), names, holders), row)


def closed_by_two(books: Books, first: date, last: date, *, carry: bool = False) -> Closing:
    """Close days as two people do: thandi proposes, sipho closes."""
    close_period(books.settings, books.supplier, first, last, "thandi", "month end", carry=carry)
    return close_period(books.settings, books.supplier, first, last, "sipho", "seen", carry=carry)


def prefix_of(books: Books, result: RunResult) -> str:
    """Where the archive has the reports of a run."""
    (run,) = books.sql("SELECT object_prefix FROM recon_runs WHERE run_id = %s", result.run_id)
    prefix = run["object_prefix"]
    assert prefix.startswith(f"reconciliation/{books.supplier}/{DAY}/{result.summary.digest}-")
    return str(prefix)


def empty_books(settings: Settings, folder: Path) -> Books:
    """Books over a table that has no row yet."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    return Books(settings, folder)
