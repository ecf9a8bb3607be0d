"""Each check on real servers: what is well, what is not, and what it says then."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from config import Settings
from config.health import HealthSettings
from ledger.business_days import day_start
from ledger.identifiers import new_id
from ledger.months import Month
from servers.lease import lease
from servers.prefect import Worker
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.queries import load
from sql.roles import prepare_roles
from sql.warm import move_to_warm
from storage.store import ObjectStore
from tasks.admin.housekeeping import record_job
from tasks.admin.setup import prepare_database
from tasks.archiving.rollover import roll_table
from tasks.archiving.to_cold import archive_month
from tasks.health import CHECKS, CheckResult, HealthState, run_checks
from tasks.health.checks import Check
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import POOL
from tests.tasks.archiving.ledger import PROJECT
from tests.tasks.health.conftest import NO_SCHEDULES, at_port

BY_NAME = {check.name: check for check in CHECKS}


def run(settings: Settings, *names: str, now: datetime | None = None) -> dict[str, CheckResult]:
    """The results of the checks of these names (all, without any)."""
    checks = [BY_NAME[name] for name in names] or CHECKS
    return {result.name: result for result in run_checks(settings, checks, now)}


def limited(settings: Settings, **limits: Any) -> Settings:
    """The settings with other thresholds."""
    return settings.model_copy(update={"health": HealthSettings(**limits)})


def unhealthy(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: result.line for name, result in results.items() if result.state is not HealthState.HEALTHY}


@pytest.mark.heavy("each check has a test of its own")
def test_a_system_in_which_all_is_well_is_healthy_until_its_worker_is_gone(system: Settings, prefect_url: str) -> None:
    unhurried = dict.fromkeys(("postgres_warning_ms", "redis_warning_ms", "store_warning_ms"), 20_000)
    unhurried |= dict.fromkeys(("postgres_critical_ms", "redis_critical_ms", "store_critical_ms"), 30_000)
    system = limited(system, late_runs_warning=1_000, late_runs_critical=2_000)  # of other tests, at the same Prefect
    spacious = limited(system, disk_warning_percent=1, disk_critical_percent=1, schedules_off=NO_SCHEDULES, **unhurried)
    with lease(system.home, Worker(system.home, PrefectAccess.of(system), {}, PROJECT)):
        results = run(spacious)
    assert unhealthy(results) == {}
    assert list(results) == [check.name for check in CHECKS]
    assert all(result.line and not result.to_do for result in results.values())
    # A worker that ends is known to be gone after some missed heartbeats; this is what the server says then.
    assert PrefectAccess.of(system).ask(f"/work_pools/{POOL}/workers/treasury", method="DELETE") is None
    assert unhealthy(run(system, "prefect", "prefect_workers")) == {
        "prefect_workers": "0 workers of the pool treasury are online"
    }


def test_every_check_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len(BY_NAME) == len(CHECKS)
    assert all(check.to_do.endswith(".") and check.description for check in CHECKS)


# --- PostgreSQL


def test_a_database_that_takes_no_writes_is_critical(ledger: Settings, connection: Connection) -> None:
    assert run(ledger, "postgres")["postgres"].state is HealthState.HEALTHY
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = on")
    result = run(ledger, "postgres")["postgres"]
    assert result.state is HealthState.CRITICAL
    assert "takes no writes: default_transaction_read_only is on for this login" in result.line


def test_connections_in_use_are_counted(ledger: Settings) -> None:
    asked = limited(ledger, connections_warning_percent=1, connections_critical_percent=100)
    with connect(ledger.database_dsn, "tests"):  # 2 of 197 are 1 %, whatever else is open
        [result] = run(asked, "connections").values()
    assert result.state is HealthState.WARNING
    assert result.unit == "%"
    assert "connections in use" in result.line


def test_the_limits_of_the_database_and_of_a_role_count_too(ledger: Settings, connection: Connection) -> None:
    role = f"limited_{secrets.token_hex(4)}"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'limited' CONNECTION LIMIT 2")
    try:
        url = make_conninfo(ledger.database_dsn, user=role, password="limited")
        parts = conninfo_to_dict(url)
        api = SecretStr(f"postgresql://{role}:limited@{parts['host']}:{parts['port']}/{parts['dbname']}")
        asked = ledger.model_copy(update={"api_database_url": api})
        assert run(asked, "connections")["connections"].state is HealthState.HEALTHY
        with psycopg.connect(url), psycopg.connect(url):
            result = run(asked, "connections")["connections"]
        assert result.state is HealthState.CRITICAL
        assert result.line == f"2 of 2 connections of role {role} in use"
        connection.execute(f"ALTER DATABASE {parts['dbname']} CONNECTION LIMIT 1")
        line = run(asked, "connections")["connections"].line
        assert f" of 1 connections of database {parts['dbname']} in use" in line
    finally:
        connection.execute(f"DROP ROLE {role}")


def test_a_transaction_that_stays_open_is_named(ledger: Settings, connection: Connection) -> None:
    with connection.transaction():
        connection.execute("SELECT 1")
        in_an_hour = limited(ledger, transaction_warning_minutes=1)
        assert run(in_an_hour, "long_transactions")["long_transactions"].state is HealthState.HEALTHY
        pid = connection.info.backend_pid
        assert (
            f"pid {pid}, treasury tests, idle in transaction"
            in run(ledger, "long_transactions")["long_transactions"].line
        )
    assert run(ledger, "long_transactions")["long_transactions"].line == "no transaction is open"


@pytest.fixture
def left_behind(connection: Connection) -> Iterator[str]:
    """The name of a prepared transaction, with a lock on a table, whose coordinator is lost."""
    if connection.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("this server takes no prepared transactions")
    gid = f"left behind {secrets.token_hex(4)}"
    with connection.transaction():
        connection.execute("LOCK TABLE imports")
        connection.execute(f"PREPARE TRANSACTION '{gid}'")
    yield gid
    connection.execute(f"ROLLBACK PREPARED '{gid}'")


def test_a_prepared_transaction_is_named_as_open_and_as_what_others_wait_for(
    ledger: Settings, left_behind: str, dsn: str
) -> None:
    def wait_for_it() -> None:
        with (
            psycopg.connect(dsn, options="-c lock_timeout=5s") as other,
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            other.execute("LOCK TABLE imports")

    named = f"the prepared transaction '{left_behind}'"
    line = run(ledger, "long_transactions")["long_transactions"].line
    assert line == f"1 open; the oldest for 0.0 minutes: {named} of treasury"
    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    line = await_line(lambda: run(ledger, "locks")["locks"], lambda result: "1 waiting" in result.line)
    assert line.endswith(f"behind {named}")
    waiting.join()


def test_an_open_transaction_of_a_background_process_is_one_too(connection: Connection) -> None:
    """A job of pg_cron and a subscription's worker are sessions of no client; an autovacuum gives way by itself."""
    connection.execute("CREATE TEMPORARY TABLE activity AS SELECT * FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    connection.execute("UPDATE activity SET pid = 1, xact_start = now() - interval '2 hours', state = NULL")
    oldest = load("health")["oldest_transaction"].replace("pg_stat_activity", "activity")
    for kind, found in (("logical replication worker", True), ("autovacuum worker", False), ("parallel worker", False)):
        connection.execute("UPDATE activity SET backend_type = %s", (kind,))
        row = connection.execute(oldest).fetchone()
        assert (row is not None) == found
        assert row is None or row[1:] == (f"pid 1, treasury tests, {kind}", 1)


def test_who_waits_for_a_lock_and_who_is_in_front_are_named(ledger: Settings, connection: Connection, dsn: str) -> None:
    def wait_for_it() -> None:
        with psycopg.connect(dsn, application_name="the one who waits") as other:
            other.execute("LOCK TABLE imports")

    with connection.transaction():
        connection.execute("LOCK TABLE imports")
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        line = await_line(lambda: run(ledger, "locks")["locks"], lambda result: "1 waiting" in result.line)
        assert "the one who waits" in line
        assert f"behind pid {connection.info.backend_pid}" in line
    waiting.join()
    assert run(ledger, "locks")["locks"].line == "nobody waits for a lock"


def test_a_database_whose_order_of_texts_the_server_changed_is_critical(
    ledger: Settings, connection: Connection
) -> None:
    assert run(ledger, "collations")["collations"].state is HealthState.HEALTHY
    connection.execute("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
    result = run(ledger, "collations")["collations"]
    assert result.state is HealthState.CRITICAL
    assert f"the collation of database {connection.info.dbname} was version 0 and is" in result.line
    assert "REINDEX DATABASE" in result.to_do


def test_of_other_collations_those_that_an_index_uses_are_looked_at(ledger: Settings, connection: Connection) -> None:
    for name in ("used", "unused"):
        connection.execute(f'CREATE COLLATION public.{name} FROM "C"')
    connection.execute("UPDATE pg_collation SET collversion = '1.0' WHERE collname IN ('used', 'unused')")
    assert run(ledger, "collations")["collations"].state is HealthState.HEALTHY
    connection.execute("CREATE INDEX ON imports (file_name COLLATE used)")
    assert "collation used was version 1.0 and is" in run(ledger, "collations")["collations"].line


def await_line(look: Callable[[], CheckResult], wanted: Callable[[CheckResult], bool]) -> str:
    """The line of the first result that is as wanted."""
    for _ in range(200):
        result = look()
        if wanted(result):
            return result.line
        time.sleep(0.02)
    raise AssertionError(result.line)


def test_a_role_that_sees_only_its_own_sessions_is_told_so(ledger: Settings, connection: Connection) -> None:
    connection.execute("DROP ROLE IF EXISTS watcher")
    connection.execute("CREATE ROLE watcher LOGIN PASSWORD 'watcher'")
    try:
        own = make_conninfo(ledger.database_dsn, user="watcher", password="watcher")
        parts = conninfo_to_dict(own)
        url = f"postgresql://watcher:watcher@{parts['host']}:{parts['port']}/{parts['dbname']}"
        results = run(ledger.model_copy(update={"database_url": SecretStr(url)}), "connections", "long_transactions")
        assert "grant pg_read_all_stats" in results["long_transactions"].line
        assert results["connections"].state is HealthState.HEALTHY
    finally:
        connection.execute("DROP ROLE watcher")


def test_how_fast_the_database_fills_its_disk_is_told_from_earlier_results(
    ledger: Settings, connection: Connection
) -> None:
    (ledger.home / "postgres").mkdir(parents=True)
    assert "too few results" in run(ledger, "database_growth")["database_growth"].line
    free = shutil.disk_usage(ledger.home).free
    size = int(run(ledger, "database_size")["database_size"].value or 0)
    earlier = (
        "INSERT INTO health_results VALUES (now() - interval '1 day', 'database_size', 'healthy', %s, NULL, '', 0)"
    )
    connection.execute(earlier, (size - free // 5,))
    result = run(ledger, "database_growth")["database_growth"]
    assert (result.state, round(result.value or 0)) == (HealthState.CRITICAL, 5)
    connection.execute("UPDATE health_results SET value = %s", (size + (1 << 30),))
    assert run(ledger, "database_growth")["database_growth"].line.endswith("it does not grow")


# --- the other servers


@pytest.mark.heavy("a Redis that is away is tested beside it")
def test_a_redis_that_takes_no_writes_is_critical(system: Settings, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        try:
            result = run(system, "redis")["redis"]
        finally:
            client.config_set("maxmemory", before)
            client.config_set("maxmemory-policy", "allkeys-lru")
        assert result.state is HealthState.CRITICAL
        assert run(system, "redis")["redis"].state is HealthState.HEALTHY
        assert client.keys("*health*") == []


def objects(settings: Settings) -> list[str]:
    """Every object of this test's archive."""
    store = ObjectStore(settings)
    store._files.invalidate_cache()
    return list(store._files.find(store._root))


def test_the_canary_leaves_nothing_behind(system: Settings) -> None:
    assert run(system, "object_store")["object_store"].state is HealthState.HEALTHY
    assert objects(system) == []
    assert list((system.home / "health" / "canaries").iterdir()) == []


def test_a_canary_that_a_killed_run_left_is_removed_by_a_later_one(system: Settings) -> None:
    left = system.home / "health" / "canaries" / "left.canary"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (time.time() - 3600,) * 2)
    ObjectStore(system).put_bytes(b"left behind", "health/left.canary")
    run(system, "object_store")
    assert objects(system) == []
    assert not left.exists()


def test_a_bucket_that_is_not_there_is_critical(system: Settings) -> None:
    result = run(system.model_copy(update={"archive_url": "s3://nowhere"}), "object_store")["object_store"]
    assert result.state is HealthState.CRITICAL
    assert "TREASURY_ARCHIVE_URL" in result.line


def test_an_archive_in_a_folder_is_checked_too(system: Settings, tmp_path: object) -> None:
    folder = system.model_copy(update={"archive_url": f"file://{tmp_path}/archive"})
    assert run(folder, "object_store")["object_store"].state is HealthState.HEALTHY


def test_what_is_not_set_and_does_not_run_is_named(ledger: Settings) -> None:
    nothing = ledger.model_copy(
        update={"database_url": None, "redis_url": None, "archive_url": None, "prefect_api_url": None}
    )
    lines = unhealthy(run(nothing, "postgres", "redis", "object_store", "prefect"))
    for name, variable in {
        "postgres": "DATABASE",
        "redis": "REDIS",
        "object_store": "ARCHIVE",
        "prefect": "PREFECT_API",
    }.items():
        assert f"TREASURY_{variable}_URL is not set" in lines[name]


def test_a_full_disk_is_told(ledger: Settings) -> None:
    tight = limited(ledger, disk_warning_percent=99, disk_critical_percent=98)
    assert run(tight, "disk")["disk"].state is not HealthState.HEALTHY


# --- months


def test_a_current_month_without_a_partition_is_critical(bare: Settings) -> None:
    result = run(bare, "partitions_ahead")["partitions_ahead"]
    assert result.state is HealthState.CRITICAL
    assert "no row can be stored" in result.line


def test_too_few_partitions_ahead_are_a_warning_and_then_critical(ledger: Settings) -> None:
    now = datetime.now(UTC)
    states = {}
    for months in (0, 5, 6, 11):
        then = Month.of(now).plus(months).lower + timedelta(days=1)
        states[months] = run(ledger, "partitions_ahead", now=then)["partitions_ahead"].state
    assert states == {0: HealthState.HEALTHY, 5: HealthState.HEALTHY, 6: HealthState.WARNING, 11: HealthState.CRITICAL}


def test_where_one_month_ahead_is_asked_for_a_new_month_alone_is_no_trouble(bare: Settings) -> None:
    little = bare.model_copy(update={"partitions_ahead": 1})
    prepare_database(little)
    now = datetime.now(UTC)
    for table in little.registry.values():
        roll_table(little, table, now.date())
    next_month = Month.of(now).upper + timedelta(minutes=5)
    assert run(little, "partitions_ahead", now=next_month)["partitions_ahead"].state is HealthState.HEALTHY


def test_a_month_that_is_not_where_the_catalogue_says_is_critical(ledger: Settings, connection: Connection) -> None:
    assert run(ledger, "partition_gaps")["partition_gaps"].state is HealthState.HEALTHY
    name = f"transactions_{Month.of(datetime.now(UTC)).plus(2)}".replace("-", "_")
    connection.execute(f"ALTER TABLE transactions_partitioned DETACH PARTITION {name}")
    result = run(ledger, "partition_gaps")["partition_gaps"]
    assert result.state is HealthState.CRITICAL
    assert "not where the catalogue says" in result.line


def test_a_column_that_rounds_amounts_is_critical_and_named(ledger: Settings, connection: Connection) -> None:
    connection.execute("DROP VIEW transactions")
    connection.execute("ALTER TABLE transactions_partitioned ALTER amount TYPE numeric(18,0)")
    result = run(ledger, "partition_gaps")["partition_gaps"]
    assert result.state is HealthState.CRITICAL
    assert "unfit: transactions_partitioned.amount is numeric(18,0)" in result.line


def test_months_that_were_never_there_are_named_only(ledger: Settings, connection: Connection) -> None:
    """As after an import: between its month and the present one no month is known, the young ones neither."""
    old_month(ledger, connection, 4, "completed")
    result = run(ledger, "partition_gaps")["partition_gaps"]
    assert result.state is HealthState.HEALTHY
    assert "3 past months were never there" in result.line


def insert(connection: Connection, month: Month, status: str, age: timedelta | None = None) -> None:
    """One row of a month, made up, whose id tells its month."""
    at = month.lower + timedelta(days=1) if age is None else datetime.now(UTC) - age
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    connection.execute(
        "INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount, currency,"
        " created_at, updated_at) VALUES (%s, 'acme', 'u-1', 'w-1', 'payment', %s, 10, 'ZAR', %s, %s)",
        (new_id(at, secrets.randbits), status, at, at),
    )


def old_month(settings: Settings, connection: Connection, months: int, status: str) -> Month:
    """A warm month of some age that the catalogue has known for as long, with one row."""
    month = Month.of(datetime.now(UTC)).plus(-months)
    table = settings.table("transactions")
    ensure_partition(connection, settings, table, month)
    insert(connection, month, status)
    move_to_warm(connection, settings, table, month)
    connection.execute("UPDATE archive_months SET created_at = %s WHERE month = %s", (month.lower, month.first_day))
    return month


def test_a_month_that_should_have_moved_is_overdue(ledger: Settings, connection: Connection) -> None:
    month = old_month(ledger, connection, 15, "completed")
    results = run(ledger, "months_overdue", "months_held_back")
    assert results["months_overdue"].state is HealthState.CRITICAL
    assert f"transactions {month}" in results["months_overdue"].line
    assert results["months_held_back"].state is HealthState.HEALTHY


def test_a_month_with_unfinished_rows_is_held_back_and_not_overdue(ledger: Settings, connection: Connection) -> None:
    month = old_month(ledger, connection, 15, "pending")
    results = run(ledger, "months_overdue", "months_held_back")
    assert results["months_overdue"].state is HealthState.HEALTHY
    assert results["months_held_back"].state is HealthState.CRITICAL
    assert results["months_held_back"].line.startswith(f"1 month is held back, transactions {month} for")
    assert results["months_held_back"].line.endswith("by 1 unfinished row")


def test_a_month_that_went_back_to_warm_is_not_overdue_and_is_named_with_its_day(
    ledger: Settings, connection: Connection
) -> None:
    month = old_month(ledger, connection, 15, "completed")
    row = connection.execute(
        "UPDATE archive_months SET tier = 'warm', warm_at = now(), work_until = (now() AT TIME ZONE 'UTC')::date + 7"
        " WHERE month = %s RETURNING work_until",
        (month.first_day,),
    ).fetchone()
    assert row is not None
    results = run(ledger, "months_overdue", "months_held_back")
    assert [result.state for result in results.values()] == [HealthState.HEALTHY] * 2
    line = f"no month is held back; went back to warm: transactions {month} is in work until {row[0]}"
    assert results["months_held_back"].line == line


def test_a_month_is_not_overdue_in_the_night_that_it_becomes_due(ledger: Settings, connection: Connection) -> None:
    month = old_month(ledger, connection, 12, "completed")
    due_at = month.plus(13).lower
    hours = {
        h: run(ledger, "months_overdue", now=due_at + timedelta(hours=h))["months_overdue"] for h in (-1, 2, 27, 97)
    }
    assert [result.state for result in hours.values()] == [
        HealthState.HEALTHY,
        HealthState.HEALTHY,
        HealthState.WARNING,
        HealthState.CRITICAL,
    ]


def test_unfinished_rows_age(ledger: Settings, connection: Connection) -> None:
    assert run(ledger, "pending_rows_ageing")["pending_rows_ageing"].line == "no row is unfinished"
    month = Month.of(datetime.now(UTC) - timedelta(hours=2))  # the one before, at the beginning of a month
    ensure_partition(connection, ledger, ledger.table("transactions"), month)
    insert(connection, month, "completed", timedelta(hours=2))
    insert(connection, month, "processing", timedelta(hours=2))
    result = run(ledger, "pending_rows_ageing")["pending_rows_ageing"]
    assert (result.state, result.line) == (
        HealthState.HEALTHY,
        "the oldest unfinished row, of transactions, is 2.0 hours old",
    )
    old = run(limited(ledger, pending_warning_hours=1, pending_critical_hours=2), "pending_rows_ageing")
    assert old["pending_rows_ageing"].state is HealthState.CRITICAL
    assert old["pending_rows_ageing"].line.endswith("1 are older than 1 hours")


def test_nights_that_did_not_end_well_are_told(ledger: Settings, connection: Connection) -> None:
    assert run(ledger, "last_archive")["last_archive"].line.startswith("the night's work never ran")
    record_job(ledger, "run_archiving_operations")
    tomorrow, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (25, 30))
    assert run(ledger, "last_archive", now=tomorrow)["last_archive"].state is HealthState.HEALTHY
    record_job(ledger, "run_archiving_operations", "DataError: month 2025-08 is odd")
    result = run(ledger, "last_archive", now=later)["last_archive"]
    assert result.state is HealthState.WARNING
    assert "last ended well 30 hours ago; its last run failed: DataError: month 2025-08 is odd" in result.line


def test_a_proof_that_failed_is_critical(ledger: Settings, connection: Connection) -> None:
    month = old_month(ledger, connection, 15, "completed")
    connection.execute(
        "UPDATE archive_months SET last_error = 'VerificationError: digest' WHERE month = %s", (month.first_day,)
    )
    result = run(ledger, "last_verification")["last_verification"]
    assert (result.state, result.value) == (HealthState.CRITICAL, None)
    assert str(month) in result.line


def test_the_time_since_an_archived_month_was_proved_is_told(ledger: Settings, connection: Connection) -> None:
    month = old_month(ledger, connection, 15, "completed")
    archive_month(ledger, ledger.table("transactions"), month)
    states = [
        run(ledger, "last_verification", now=datetime.now(UTC) + timedelta(days=days))["last_verification"].state
        for days in (1, 41, 101)
    ]
    assert states == [HealthState.HEALTHY, HealthState.WARNING, HealthState.CRITICAL]
    connection.execute("UPDATE archive_months SET verified_at = now() + interval '400 days' WHERE tier = 'cold'")
    found = run(ledger, "last_verification", now=datetime.now(UTC) + timedelta(days=101))["last_verification"]
    assert (found.state, found.value) == (HealthState.WARNING, None)  # a clock was wrong when the month was proved
    assert "no time of a proof is before now" in found.line


def add_run(connection: Connection, supplier: str, day: date, *, early: bool = False) -> None:
    """The record of a run over a supplier's day, made on the next morning or, if ``early``, before the day was over."""
    started = day_start(day) + (timedelta(hours=12) if early else timedelta(hours=30))
    connection.execute(
        "INSERT INTO recon_runs (supplier, day, digest, statement_digest, own_digest, rules, verdict, line_count,"
        " own_count, matched_count, break_count, figures, object_prefix, actor, started_at) SELECT %s, %s, d, d, d,"
        " '{}', 'passed', 1, 1, 1, 0, '{}', 'runs', 'test', %s FROM (SELECT decode(repeat('00', 32), 'hex')) AS z(d)",
        (supplier, day, started),
    )


def test_a_supplier_that_is_not_reconciled_any_more_is_named(ledger: Settings, connection: Connection) -> None:
    assert run(ledger, "reconciliation")["reconciliation"].state is HealthState.HEALTHY
    for number in range(1, 21):
        add_run(connection, "flash", date(2026, 11, number))
    for number in range(1, 22):
        add_run(connection, "peach", date(2026, 11, number))
    states = {}
    for day in (21, 23, 25):
        result = run(ledger, "reconciliation", now=datetime(2026, 11, day, 6, tzinfo=UTC))["reconciliation"]
        states[day] = result.state
    assert states == {21: HealthState.HEALTHY, 23: HealthState.WARNING, 25: HealthState.CRITICAL}
    assert result.line == (
        "flash: 4 days are not reconciled: 2026-11-21 to 2026-11-24;"
        " peach: 3 days are not reconciled: 2026-11-22 to 2026-11-24"
    )


def test_days_without_a_run_are_named_though_a_later_day_was_reconciled(
    ledger: Settings, connection: Connection
) -> None:
    for number in (1, 8, 9, 11):
        add_run(connection, "flash", date(2026, 11, number))
    add_run(connection, "flash", date(2026, 11, 10), early=True)
    result = run(ledger, "reconciliation", now=datetime(2026, 11, 12, 6, tzinfo=UTC))["reconciliation"]
    assert result.state is HealthState.CRITICAL
    assert result.line == "flash: 7 days are not reconciled: 2026-11-02 to 2026-11-07, 2026-11-10"


def test_a_day_of_a_closed_period_is_reconciled_and_so_is_one_of_a_supplier_that_is_off(
    ledger: Settings, connection: Connection
) -> None:
    for number in (1, 5):
        add_run(connection, "flash", date(2026, 11, number))
    add_run(connection, "mobilemart", date(2026, 10, 1))
    connection.execute(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason)"
        " VALUES ('flash', '2026-11-02', '2026-11-04', 'a', 'b')"
    )
    suppliers = ledger.suppliers.model_copy(
        update={"mobilemart": ledger.suppliers.mobilemart.model_copy(update={"enabled": False})}
    )
    without = ledger.model_copy(update={"suppliers": suppliers})
    result = run(without, "reconciliation", now=datetime(2026, 11, 6, 6, tzinfo=UTC))["reconciliation"]
    assert (result.state, result.line) == (
        HealthState.HEALTHY,
        "reconciled up to 2026-11-05, every day since the first statement or run: flash",
    )


def test_many_days_are_counted_and_only_days_within_the_horizon(ledger: Settings, connection: Connection) -> None:
    add_run(connection, "flash", date(2025, 11, 1))
    for number in range(1, 30, 2):
        add_run(connection, "flash", date(2026, 11, number))
    horizon = limited(ledger, reconciliation_days=30)
    result = run(horizon, "reconciliation", now=datetime(2026, 11, 30, 6, tzinfo=UTC))["reconciliation"]
    assert result.line == ("flash: 15 days are not reconciled: 2026-10-31, 2026-11-02, 2026-11-04 and 12 more")


def test_the_api_s_role_may_make_every_check(ledger: Settings, connection: Connection) -> None:
    old_month(ledger, connection, 15, "pending")
    prepare_roles(connection, ledger)
    name = f"member_{secrets.token_hex(4)}"
    connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE treasury_api")
    try:
        parts = conninfo_to_dict(ledger.database_dsn)
        url = f"postgresql://{name}:{name}@{parts['host']}:{parts['port']}/{parts['dbname']}"
        limited_role = ledger.model_copy(update={"database_url": SecretStr(url)})
        lines = [
            result.line
            for result in run_checks(limited_role, [check for check in CHECKS if check.asks_postgres])
            if "permission" in result.line or result.line.startswith("PostgreSQL 4")
        ]
        assert lines == []
        assert run(limited_role, "months_held_back")["months_held_back"].state is HealthState.CRITICAL
    finally:
        connection.execute(f"DROP ROLE {name}")


# --- the run itself


def test_an_error_that_nobody_foresaw_is_a_critical_result_without_its_text(ledger: Settings) -> None:
    def broken(_: object) -> None:
        raise KeyError("a secret")

    check = Check("odd", "An odd one", broken, "Read the log.")  # type: ignore[arg-type]  # the point of the test
    [result] = run_checks(ledger, [check])
    assert (result.state, result.line, result.to_do) == (
        HealthState.CRITICAL,
        "the check failed: KeyError",
        "Read the log.",
    )


def test_an_error_s_text_is_shown_without_its_secrets(ledger: Settings, closed_port: int) -> None:
    away = at_port(ledger, closed_port)
    text = " ".join(result.line + result.to_do for result in run_checks(away))
    assert "hunter2" not in text
    assert "B" * 40 not in text


# --- Access to rows


def test_a_policy_that_hides_rows_is_critical_and_names_table_and_login(
    ledger: Settings, connection: Connection
) -> None:
    assert run(ledger, "row_access")["row_access"].state is HealthState.HEALTHY
    partition = f"transactions_{datetime.now(UTC):%Y_%m}"
    connection.execute(f"ALTER TABLE {partition} ENABLE ROW LEVEL SECURITY")
    result = run(ledger, "row_access")["row_access"]
    assert result.state is HealthState.CRITICAL
    assert f"{partition} for " in result.line
    assert "auditor" in result.line


@pytest.mark.parametrize("name", ["transactions_{:%Y_%m}", "treasury.idempotency_keys"])
def test_a_table_that_a_crash_would_empty_is_critical_and_named(
    ledger: Settings, connection: Connection, name: str
) -> None:
    relation = name.format(datetime.now(UTC))
    connection.execute(f"ALTER TABLE {relation} SET UNLOGGED")
    result = run(ledger, "row_access")["row_access"]
    assert (result.state, result.value) == (HealthState.CRITICAL, Decimal(1))
    assert f"ALTER TABLE {relation} SET LOGGED" in result.line


def test_a_guard_that_is_switched_off_is_critical_and_named(ledger: Settings, connection: Connection) -> None:
    connection.execute("ALTER TABLE transactions_partitioned DISABLE TRIGGER ALL")
    result = run(ledger, "row_access")["row_access"]
    assert (result.state, result.value) == (HealthState.CRITICAL, Decimal(1))
    assert "treasury_guard_history of transactions_partitioned" in result.line


def test_a_trigger_that_may_drop_rows_is_a_warning_and_is_named_once(ledger: Settings, connection: Connection) -> None:
    connection.execute("CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    connection.execute(
        "CREATE TRIGGER meddle BEFORE INSERT ON transactions_partitioned FOR EACH ROW EXECUTE FUNCTION meddle()"
    )
    result = run(ledger, "row_access")["row_access"]
    assert (result.state, result.value) == (HealthState.WARNING, Decimal(1))
    assert "trigger meddle on transactions_partitioned" in result.line
