"""A ledger under archiving: months filled with rows, a night's work without Prefect, and ways to look behind it."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from config import Settings
from ledger.identifiers import new_id
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from storage.manifest import Manifest
from storage.marker import KEY as MARKER
from tasks.archiving.move_month import finish_leftovers, move_month
from tasks.archiving.outcome import MoveOutcome
from tasks.archiving.plan import plan_table
from tasks.archiving.to_warm import warm_month
from tasks.querying.query import run_query

TODAY = date(2026, 11, 23)
COLD = Month(2024, 3)  # due for cold on TODAY
WARM = Month(2026, 2)  # due for warm on TODAY
HOT = Month(2026, 10)  # stays hot on TODAY
ROWS = 40
PROJECT = Path(__file__).resolve().parents[3]
_SUPPLIED = {"supplier": "flash", "vas_type": "airtime", "commission": Decimal("0.37"), "mobile_number": "27000000001"}

Whole = dict[tuple[str, str], tuple[int, Decimal]]


class Ledger:
    """One test's database and bucket. ``store`` is the bucket's folder on disk, behind the S3 server's back."""

    def __init__(self, settings: Settings, store: Path) -> None:
        self.settings = settings
        self.store = store
        self.table = settings.table("transactions")

    def fill(self, month: Month, rows: int = ROWS, table: TieredTable | None = None, **changes: Any) -> None:
        """Put rows of many kinds into a month, making its partition; the same month gets the same rows each time."""
        table = table or self.table
        with connect(self.settings.database_dsn, "tests") as connection:
            prepare_table(connection, self.settings, table)
            ensure_partition(connection, self.settings, table, month)
            self.insert(connection, table, [make_row(table, month, number) | changes for number in range(rows)])

    def insert(self, connection: psycopg.Connection[Any], table: TieredTable, rows: list[dict[str, Any]]) -> None:
        """Insert rows into the hot parent, whichever partition they go to."""
        names = rows[0] if rows else ()
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table.hot_parent),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(map(sql.Placeholder, names)),
        )
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def warm(self, *months: Month, rows: int = ROWS) -> None:
        """Fill months and move them to warm."""
        for month in months:
            self.fill(month, rows)
            assert warm_month(self.settings, self.table, month)

    def night(self, as_of: date = TODAY, today: date = TODAY) -> list[MoveOutcome]:
        """What the nightly flow does for the table, without Prefect."""
        moves = plan_table(self.settings, self.table, as_of, today)
        outcomes = [outcome for move in moves for outcome in move_month(self.settings, move)]
        finish_leftovers(self.settings, self.table)
        return outcomes

    def whole(self) -> Whole:
        """Count and sum of every month as the auditor sees them, by month and tier."""
        rows = self.ask(f"SELECT month, tier, count(*) AS n, sum(amount) AS total FROM {self.table.name} GROUP BY 1, 2")
        return {(row["month"], row["tier"]): (row["n"], row["total"]) for row in rows}

    def content(self) -> dict[str, tuple[int, Decimal]]:
        """Count and sum of every month wherever it is; fails when a month is in two tiers."""
        whole = self.whole()
        found = {month: value for (month, _), value in whole.items()}
        assert len(found) == len(whole), f"a month is in two tiers: {sorted(whole)}"
        return found

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The answer to an auditor's question."""
        with run_query(self.settings, query) as answer:
            rows: list[dict[str, Any]] = answer.batches.read_all().to_pylist()
        return rows

    def sql(self, query: str, *parameters: Any) -> list[Any]:
        """Run a statement as the database's superuser; returns its rows, if it has any."""
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def catalogue(self, month: Month) -> dict[str, Any]:
        """The month's row of archive_months."""
        with psycopg.connect(self.settings.database_dsn, row_factory=dict_row) as connection:
            where = (self.table.name, month.first_day)
            query = "SELECT * FROM archive_months WHERE (table_name, month) = (%s, %s)"
            row = connection.execute(query, where).fetchone()
        assert row is not None
        return row

    def tier(self, month: Month) -> str:
        """The month's tier by the catalogue."""
        return str(self.catalogue(month)["tier"])

    def objects(self) -> set[str]:
        """Every file of the bucket, half-written ones too, but the installation's marker and the public log."""
        found = {str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file()}
        return {key for key in found if key != MARKER and not key.startswith("log/")}

    def check_archive(self) -> None:
        """The bucket holds exactly what the catalogue names, and no upload is left undecided."""
        named = self.sql("SELECT object_key, manifest_key FROM archive_months WHERE tier = 'cold'")
        manifests = [Manifest.from_bytes((self.store / key).read_bytes(), key) for _, key in named]
        assert self.objects() == {key for _, key in named} | {key for one in manifests for key in one.keys}
        assert [one.files[0].key for one in manifests] == [key for key, _ in named]
        states = dict(self.sql("SELECT state, array_agg(object_key) FROM archive_uploads GROUP BY 1"))
        assert set(states.get("current", [])) == self.objects()
        assert set(states) <= {"current", "removed"}, states

    def check_no_partition(self, month: Month) -> None:
        """PostgreSQL has nothing left of the month."""
        assert self.sql("SELECT to_regclass(%s)", self.table.partition(month)) == [(None,)]

    def run(self, program: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run Python code in a process of its own, with this test's settings."""
        with self.start(program, *arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        if process.returncode == -signal.SIGKILL:
            self._until_its_locks_are_free()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def _until_its_locks_are_free(self) -> None:
        """PostgreSQL ends a session a moment after its client was killed, and a busy machine makes it a long one."""
        locks = (
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        for _ in range(100):
            if not self.sql(locks):
                return
            time.sleep(0.05)

    def start(self, program: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start Python code in a process of its own, with this test's settings."""
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=dict(os.environ) | self.settings.environment() | environment,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def make_row(table: TieredTable, month: Month, number: int) -> dict[str, Any]:
    """A finished row, by chance but always the same; the first two stand at the month's first and last instant."""
    chance = random.Random(f"{table.name} {month} {number}")  # noqa: S311  # made-up rows, no secrets
    span_ms = (month.upper - month.lower) // timedelta(milliseconds=1)
    offset_ms = {0: 0, 1: span_ms - 1}.get(number, chance.randrange(span_ms))
    created_at = month.lower + timedelta(milliseconds=offset_ms)
    row = {
        "id": new_id(created_at, chance.getrandbits),
        "client_id": "acme",
        "user_id": f"user-{chance.randrange(9)}",
        "wallet_id": f"wallet-{chance.randrange(9)}",
        "type": "payment",
        "status": chance.choice(["completed", "failed", "reversed"]),
        "amount": Decimal(chance.randrange(1, 10**6)) / 100,
        "fee": Decimal(chance.randrange(100)) / 100,
        "currency": chance.choice(["ZAR", "ZAR", "USD"]),
        "reference": chance.choice([None, f"REF-{number}"]),
        "description": chance.choice([None, "", "naïve ☕, 'quoted'\n\"line\""]),
        "metadata": '{"n": 1}',
        "created_at": created_at,
        "updated_at": created_at,
    }
    return row | _SUPPLIED if table.name == "vas_transactions" else row


def moment(month: Month, day: int = 15) -> datetime:
    """Noon of a day of a month, UTC."""
    return month.lower.replace(day=day, hour=12)
