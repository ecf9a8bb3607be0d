"""Parents that lie in a schema of the company's, with other tables of the same names in `public`: everything that reads
or writes rows means the parents, and what is in `public` stays as it is.
"""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Placeholder

from config import Settings
from ledger.identifiers import truncate_ms
from ledger.months import Month
from ledger.scopes import Scope
from ledger.tables import BUILT_IN, TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from ledger.transactions import Status
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.admin.setup import prepare_database
from tasks.archiving.outcome import MoveResult
from tasks.archiving.rollover import roll_table
from tasks.health import CHECKS, HealthState, run_checks
from tasks.importing.run import ImportRequest, import_file
from tasks.vending.rows import Finish, VendRows, finish_in, status_in, vend_database
from tasks.watch import watch_transactions
from tests.api.conftest import serving
from tests.api.ledger_rows import BODIES, PATHS, keyed
from tests.cli.in_process import run_here
from tests.databases import make_template
from tests.sql.ledger_rows import ROW, add_row
from tests.tasks.archiving.ledger import COLD, Ledger, make_row
from tests.tasks.importing.conftest import MAPPING, NOW

SCHEMA = "sales"
NAMESAKES = ("transactions", "transactions_archive_warm", "vas_transactions", "vas_transactions_archive_warm")
_CHECKS = ("months_overdue", "months_held_back", "pending_rows_ageing", "partition_gaps", "row_access")


def _move_parents(draft: Settings) -> None:
    """Tables as after a night's work, moved into a schema of their own, and namesakes that have one row each."""
    prepare_database(draft)
    for table in BUILT_IN:
        roll_table(draft, table, datetime.now(UTC).date() - timedelta(days=2))  # rows of yesterday are put in, too
    with connect(draft.database_dsn, "tests") as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
        for kind, name in connection.execute(
            "SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
        ).fetchall():
            connection.execute(SQL("ALTER {} {} SET SCHEMA {}").format(SQL(kind), Identifier(name), Identifier(SCHEMA)))
        for name in NAMESAKES:
            copied = SQL("CREATE TABLE {} AS SELECT 'somebody else''s' AS note").format(Identifier("public", name))
            connection.execute(copied)
    assert prepare_database(draft) == []  # as `treasury setup`: lets the roles into the schema


@pytest.fixture(scope="session")
def template(server_settings: Settings, migrated: str) -> str:
    """The name of a database whose parents are in the schema `sales`."""
    return make_template(server_settings, f"{migrated}_third_schema", migrated, _move_parents)


@pytest.fixture
def moved(settings: Settings) -> Iterator[Settings]:
    """Settings of such a database. At the end the namesakes are as they were."""
    yield settings
    with psycopg.connect(settings.database_dsn) as connection:
        for name in NAMESAKES:
            found = connection.execute(SQL("SELECT * FROM {}").format(Identifier("public", name))).fetchall()
            assert found == [("somebody else's",)], name


def put(settings: Settings, table: TieredTable, rows: list[dict[str, Any]]) -> None:
    """Put rows into the hot parent."""
    statement = SQL("INSERT INTO {} ({}) VALUES ({})").format(
        Identifier(SCHEMA, table.hot_parent),
        SQL(", ").join(map(Identifier, rows[0])),
        SQL(", ").join(map(Placeholder, rows[0])),
    )
    with psycopg.connect(settings.database_dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def put_vend(settings: Settings) -> UUID:
    """Put a pending purchase into PostgreSQL."""
    now = truncate_ms(datetime.now(UTC))
    with psycopg.connect(settings.database_dsn, options=f"-c search_path={SCHEMA},treasury") as connection:
        return add_row(connection, VAS_TRANSACTIONS, now, status="pending")


@pytest.mark.parametrize("path", PATHS)
def test_the_api_stores_changes_and_finds_rows(moved: Settings, path: str) -> None:
    key = create_key(moved, "acme", [*Scope], None)
    headers = {"Authorization": f"Bearer {key}"}
    with serving(moved) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as api:
        posted = api.post(path, json={**BODIES[path], "status": "processing"}, headers=keyed())
        assert posted.status_code == 201, posted.text
        row = posted.json()
        changed = api.post(f"{path}/{row['id']}/status", json={"status": "completed"})
        assert (changed.status_code, changed.json()["status"]) == (200, "completed")
        assert api.get(posted.headers["location"]).json() == changed.json()
        assert [one["id"] for one in api.get(path, params={"wallet_id": row["wallet_id"]}).json()["items"]] == [
            row["id"]
        ]
        assert api.get(f"{path}/feed").status_code == 200
        months = api.get("/api/v1/monitoring/partitions").json()
        assert {one["tier"] for one in months["months"]} == {"hot"}
        assert all(one["partitions"] > 0 for one in months["pruning"])


def test_the_sizes_that_are_shown_are_those_of_the_ledger(moved: Settings) -> None:
    headers = {"Authorization": f"Bearer {create_key(moved, 'acme', [Scope.MONITORING_READ], None)}"}
    with psycopg.connect(moved.database_dsn) as connection:  # of somebody else, and larger than all of the ledger
        connection.execute("CREATE TABLE public.theirs AS SELECT n FROM generate_series(1, 100000) AS n")
        connection.execute("CREATE INDEX theirs_n ON public.theirs (n)")
    with serving(moved) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as api:
        page = api.get("/api/v1/monitoring/database").json()
    tables, indexes = ({one["name"] for one in page[kind]} for kind in ("tables", "indexes"))
    assert any(name.startswith("transactions_20") for name in tables)
    assert not {"theirs", "transactions"} & tables
    assert indexes
    assert "theirs_n" not in indexes


def test_a_move_into_another_schema_while_the_api_runs_is_noticed(moved: Settings) -> None:
    headers = {"Authorization": f"Bearer {create_key(moved, 'acme', [*Scope], None)}"}
    with serving(moved) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as api:
        assert api.post(PATHS[0], json=BODIES[PATHS[0]], headers=keyed()).status_code == 201
        with psycopg.connect(moved.database_dsn) as connection:
            connection.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO moved_on")
        assert api.post(PATHS[0], json=BODIES[PATHS[0]], headers=keyed()).status_code == 201
        assert len(api.get(PATHS[0], params={"wallet_id": "wallet-1"}).json()["items"]) == 2


def test_the_watch_finds_rows_in_both_tables(moved: Settings) -> None:
    now = truncate_ms(datetime.now(UTC))
    with psycopg.connect(moved.database_dsn, options=f"-c search_path={SCHEMA},treasury") as connection:
        for table in BUILT_IN:
            add_row(connection, table, now - timedelta(minutes=1), amount="50000.00")
    report = watch_transactions(moved, now)
    assert [(one.table, one.rows, one.findings > 0) for one in report.tables] == [
        (table.name, 1, True) for table in BUILT_IN
    ]


def test_a_purchase_is_claimed_and_ends(moved: Settings) -> None:
    first, second = put_vend(moved), put_vend(moved)
    now = datetime.now(UTC)

    async def sell() -> tuple[bool, bool]:
        async with vend_database(moved) as database:
            rows = VendRows(moved, database)
            claimed = await rows.claim(first, "ref-1", now)
            return claimed is not None, await rows.finish(first, Finish(Status.COMPLETED, "ref-1"), now)

    assert asyncio.run(sell()) == (True, True)
    with connect(moved.database_dsn, "tests") as connection:
        end = Finish(Status.FAILED, None, expected=Status.PENDING)
        assert finish_in(connection, VAS_TRANSACTIONS, second, end, now)
        assert status_in(connection, VAS_TRANSACTIONS, first) is Status.COMPLETED


def test_health_counts_what_waits(moved: Settings) -> None:
    ago = truncate_ms(datetime.now(UTC) - timedelta(hours=30))
    put(moved, TRANSACTIONS, [{**make_row(TRANSACTIONS, Month.of(ago), 5), **ROW, "status": "pending"}])
    results = {one.name: one for one in run_checks(moved, [one for one in CHECKS if one.name in _CHECKS])}
    assert "of transactions" in results["pending_rows_ageing"].line
    assert results["partition_gaps"].state is HealthState.HEALTHY
    assert [one.line for one in results.values() if "42P01" in one.line or "does not exist" in one.line] == []


def test_a_file_is_imported_and_known_again(moved: Settings, tmp_path: Path) -> None:
    file, mapping = tmp_path / "shop.csv", tmp_path / "shop.toml"
    file.write_text("no,wallet,amount,text,at\n1,w1,1.50,,2026-11-20\n2,w2,2.50,,2024-05-17\n")
    mapping.write_text(MAPPING)
    for loaded, known in ((2, 0), (0, 2)):
        report = import_file(moved, ImportRequest(file, mapping), lambda *_: None, NOW)
        assert (report.loaded, report.known, report.rejected) == (loaded, known, 0)


COMMANDS = (
    ("tiers",),
    ("totals",),
    ("sql", "SELECT count(*) FROM vas_transactions"),
    ("policy", "simulate", "--rows-per-month", "10"),
    ("policy", "check"),
    ("delete", "plan"),
    ("generate", "--months", "2", "--rows-per-month", "10"),
    ("suppliers", "settle"),
    ("watch", "run"),
    ("recon", "verify"),
    ("verify",),
    ("setup",),
)


def test_every_command_that_reads_rows_means_the_parents(
    moved: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved.home.mkdir(exist_ok=True)
    put(moved, TRANSACTIONS, [make_row(TRANSACTIONS, Month.of(datetime.now(UTC)), number) for number in range(5)])
    for command in COMMANDS:
        done = run_here(capsys, tmp_path, moved.environment(), *command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        assert not re.search(r"42P01|does not exist|Traceback", done.stdout + done.stderr)


def test_months_are_made_moved_archived_and_read(moved: Settings, server_settings: Settings) -> None:
    ledger = Ledger(moved, server_settings.home / "s3" / moved.archive_location.removeprefix("s3://"))
    later = Month.of(datetime.now(UTC)).plus(12).first_day
    assert roll_table(moved, TRANSACTIONS, later, today=later).created
    assert COLD in roll_table(moved, TRANSACTIONS, COLD.first_day).created
    put(moved, TRANSACTIONS, [make_row(TRANSACTIONS, COLD, number) for number in range(9)])
    for _ in range(2):
        assert {one.result for one in ledger.night()} <= {MoveResult.MOVED}
    assert ledger.tier(COLD) == "cold"
    assert ledger.whole()[str(COLD), "cold"][0] == 9
    ledger.check_archive()
    with connect(moved.database_dsn, "tests") as connection:
        ((schema,),) = connection.execute(
            "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE 'transactions_20%'"
        ).fetchall()
    assert schema == SCHEMA
