"""What a run sees, once and for certain: late rows, killed runs, two at a time, backlogs, what becomes of findings."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from ledger.business_days import JOHANNESBURG
from ledger.errors import NotStoredError, TreasuryError
from ledger.tables import TRANSACTIONS
from servers.lease import wait
from servers.stack import PROJECT
from tasks.alerting.rules import rules
from tasks.alerting.store import list_alerts
from tasks.watch.rules import watch_rules
from tests.dropping import dropping
from tests.sql.ledger_rows import add_row
from tests.tasks.watch.conftest import NOON, Ledger

MINUTE = timedelta(minutes=1)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("begin", ["SELECT 1", "SAVEPOINT inner_one"])  # a subtransaction has a number of its own
def test_a_row_that_becomes_visible_late_is_still_evaluated(ledger: Ledger, begin: str) -> None:
    ledger.watch(NOON - MINUTE)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        writer.execute("CREATE TEMPORARY TABLE first_of_all ()")
        writer.execute(begin.encode())
        late = add_row(writer, TRANSACTIONS, NOON, amount="50000.00")
        ledger.watch(NOON + MINUTE)
        assert ledger.findings() == []
        writer.commit()
    ledger.watch(NOON + 2 * MINUTE)
    assert [one[3] for one in ledger.findings("single")] == [str(late)]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("begin", ["SELECT 1", "SAVEPOINT inner_one"])
def test_a_transaction_that_stays_open_for_far_longer_than_the_overlap_loses_no_row(ledger: Ledger, begin: str) -> None:
    ledger.watch(NOON - MINUTE)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        writer.execute(begin.encode())
        late = add_row(writer, TRANSACTIONS, NOON, amount="50000.00")
        for minutes in (1, 10, 60):
            ledger.watch(NOON + minutes * MINUTE)
        assert ledger.findings() == []
        writer.commit()
    ledger.watch(NOON + 61 * MINUTE)
    assert [one[3] for one in ledger.findings("single")] == [str(late)]


def test_what_is_certain_moves_on_once_the_transaction_has_ended(ledger: Ledger) -> None:
    ledger.watch(NOON - MINUTE)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        add_row(writer, TRANSACTIONS, NOON)
        held = ledger.watch(NOON + 30 * MINUTE).tables[0].settled_until
        assert held <= NOON - MINUTE
    # Others write to the same server: what they have under way holds it back as well, for as long as that lasts.
    for _ in range(600):
        if ledger.watch(NOON + 31 * MINUTE).tables[0].settled_until == NOON + 31 * MINUTE - timedelta(seconds=150):
            break
    else:
        pytest.fail("the watch does not move on")


def test_a_transaction_that_is_open_for_too_long_does_not_hold_the_watch_back_for_ever(ledger: Ledger) -> None:
    ledger.configured(longest_transaction_s=600)
    ledger.watch(NOON - MINUTE)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        add_row(writer, TRANSACTIONS, NOON)
        settled = ledger.watch(NOON + 60 * MINUTE).tables[0].settled_until
        (number,) = writer.execute("SELECT pg_current_xact_id()").fetchone() or (None,)
    assert settled == NOON + 60 * MINUTE - timedelta(seconds=600 + 150)
    instants = ledger.connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE taken_xid < %s::text::xid8) FROM watch_horizons", (number,)
    ).fetchone()
    assert instants == (2, 1), "the instant before the transaction is kept: the feed asks for it"


@pytest.mark.heavy("rows of open transactions are evaluated one by one, too")
def test_under_load_with_long_transactions_every_row_is_evaluated(ledger: Ledger) -> None:
    """Writers commit after as many runs as they like, in any order; the clock of the rows is that of the runs."""
    ledger.configured(overlap_s=1, slice_s=2, daily={"enabled": False}, unusual={"enabled": False}, alerts_each=1)
    ledger.watch(NOON)
    chance, stored, clock = random.Random(7), list[str](), [0]  # noqa: S311  # no secrets
    lock, done = threading.Lock(), threading.Event()

    def write(number: int) -> None:
        with psycopg.connect(ledger.settings.database_dsn) as writer:
            while not done.is_set():
                with lock:
                    fate = chance.choice(["commit", "commit", "savepoint", "rollback"])
                    if fate == "savepoint":
                        writer.execute("SAVEPOINT inner_one")
                    at, last = NOON + clock[0] * timedelta(seconds=1), clock[0] + chance.randint(0, 6)
                    row = str(add_row(writer, TRANSACTIONS, at, amount="50000.00", user_id=f"user-{number}"))
                while clock[0] < last and not done.is_set():
                    time.sleep(0.002)
                if fate == "rollback":
                    writer.rollback()
                    continue
                writer.commit()
                with lock:
                    stored.append(row)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        for _ in range(60):
            with lock:
                clock[0] += 1
            ledger.watch(NOON + clock[0] * timedelta(seconds=1))
        done.set()
        for one in writers:
            one.result()
    ledger.watch(NOON + (clock[0] + 1) * timedelta(seconds=1))
    assert len(stored) > 50
    assert {one[3] for one in ledger.findings("single")} == set(stored)


def test_a_day_is_summed_once_no_row_of_it_can_still_come(ledger: Ledger) -> None:
    ledger.configured(unusual={"enabled": True, "baseline_days": 1})
    midnight = NOON.astimezone(JOHANNESBURG).replace(hour=0, minute=0)
    ledger.watch(midnight - MINUTE)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        add_row(writer, TRANSACTIONS, midnight - timedelta(seconds=1), amount="10.00")
        ledger.watch(midnight + 30 * MINUTE)
        writer.commit()
    samples = "SELECT coalesce(sum(samples), 0) FROM watch_baselines WHERE table_name = 'transactions' AND day = %s"
    day = midnight.date() - timedelta(days=1)
    for _ in range(600):
        ledger.watch(midnight + 31 * MINUTE)
        if ledger.connection.execute(samples, (day,)).fetchone() == (1,):
            break
    else:
        pytest.fail("the day has no row")


def test_rows_that_are_evaluated_twice_count_once(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    for seconds in (1, 30, 60, 90):
        ledger.watch(NOON + timedelta(seconds=seconds))
    assert len(ledger.findings("single")) == 1
    [alert] = list_alerts(ledger.connection, rule="transaction-single")
    assert alert.count == 1


@pytest.mark.heavy("test_rules.py evaluates rows")
def test_a_row_is_evaluated_once(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    assert ledger.watch(NOON + timedelta(seconds=10)).tables[0].rows == 1
    # Others write to the same server: as long as a transaction of theirs is under way, the row may be looked at again.
    repeated = [ledger.watch(NOON + timedelta(seconds=seconds)).tables[0].rows for seconds in range(11, 140)]
    assert repeated[-1] == 0
    assert sum(repeated) < 64
    ledger.add(NOON + timedelta(seconds=5))  # late, and of the same user
    assert ledger.watch(NOON + timedelta(seconds=141)).tables[0].rows == 2


def test_a_late_row_completes_what_earlier_evaluated_rows_began(ledger: Ledger) -> None:
    second = timedelta(seconds=1)
    for number in range(2):
        ledger.add(NOON + number * second, amount="24500.00", type="deposit", wallet_id="wallet-2")
    ledger.add(NOON + 9 * second, amount="4900.00", type="withdraw", user_id="user-2")
    ledger.watch(NOON + 10 * second)
    assert not {"structuring", "in-and-out"} & ledger.rules()
    ledger.add(NOON - second, amount="24500.00", type="deposit", wallet_id="wallet-2")
    ledger.add(NOON + 5 * second, amount="5000.00", type="receive", user_id="user-3")
    ledger.watch(NOON + 20 * second)
    assert {"structuring", "in-and-out"} <= ledger.rules()


def test_after_a_restore_on_another_server_what_was_seen_counts_for_nothing(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    ledger.watch(NOON + timedelta(seconds=10))
    ledger.connection.execute("UPDATE watch_progress SET seen_xid = '99999999999999'")
    assert ledger.watch(NOON + timedelta(seconds=20)).tables[0].rows == 1
    assert len(ledger.findings("single")) == 1


def test_a_killed_run_leaves_nothing_half_done_and_the_next_counts_nothing_twice(ledger: Ledger) -> None:
    """SIGKILL to a process that has written findings and alerts and waits to write its progress."""
    ledger.configured(unusual={"enabled": False})
    ledger.watch(NOON - MINUTE)
    ledger.add(NOON, amount="50000.00")
    command = (
        "import datetime; from config import load_settings; from tasks.watch import watch_transactions;"
        f"watch_transactions(load_settings(), datetime.datetime.fromisoformat('{(NOON + MINUTE).isoformat()}'))"
    )
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'treasury watch' AND wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    with psycopg.connect(ledger.settings.database_dsn) as holder:
        holder.execute("SELECT FROM watch_progress FOR UPDATE")
        environment = {**os.environ, **ledger.settings.environment()}
        run = subprocess.Popen([sys.executable, "-c", command], env=environment, cwd=PROJECT)
        wait(lambda: ledger.connection.execute(waiting).fetchone() == (1,), 60, "the run to have found everything")
        run.kill()
        assert run.wait(30) == -signal.SIGKILL
        assert ledger.findings() == []
    gone = waiting.replace(" AND wait_event_type = 'Lock'", "")
    wait(lambda: ledger.connection.execute(gone).fetchone() == (0,), 60, "PostgreSQL to notice")
    assert (ledger.findings(), list_alerts(ledger.connection)) == ([], [])
    for seconds in (60, 61):
        ledger.watch(NOON + timedelta(seconds=seconds))
    assert ledger.rules() == {"single", "daily"}
    assert [alert.count for alert in list_alerts(ledger.connection)] == [1, 1]


def test_what_is_older_than_the_overlap_is_not_read_again(ledger: Ledger) -> None:
    ledger.add(NOON)
    assert ledger.watch(NOON + timedelta(seconds=151)).tables[0].rows == 1
    # A transaction in another test's database of this server keeps what was read unsettled while it lasts.
    later = [ledger.watch(NOON + timedelta(seconds=200 + number)).tables[0].rows for number in range(5)]
    assert later[-1] == 0


def test_a_finding_is_an_alert_with_its_evidence(ledger: Ledger) -> None:
    row = ledger.add(NOON, amount="50000.00", description="not for an alert", reference="nor this")
    ledger.add(NOON + MINUTE, amount="60000.00")
    ledger.watch()
    [alert] = list_alerts(ledger.connection, rule="transaction-single")
    assert (alert.subject, alert.severity, alert.count, alert.state) == ("user-1", "critical", 2, "open")
    assert alert.first_seen == NOON
    assert alert.evidence["table"] == "transactions"
    assert alert.evidence["amount"] == "60000.00"
    assert str(row) in {one[3] for one in ledger.findings()}
    assert "not for an alert" not in str(ledger.findings())
    assert "nor this" not in str(ledger.findings())


def test_a_run_that_fails_in_the_middle_leaves_nothing_half_done(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    ledger.connection.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM alerts) THEN RAISE EXCEPTION 'cut off' USING ERRCODE = '57P01'; END IF; RETURN NEW;"
        " END $$"
    )
    ledger.connection.execute(
        "CREATE TRIGGER fail BEFORE UPDATE ON watch_progress FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    with pytest.raises(TreasuryError, match="cut off"):
        ledger.watch()
    assert ledger.findings() == []
    assert list_alerts(ledger.connection) == []
    ledger.connection.execute("DROP TRIGGER fail ON watch_progress")
    ledger.watch()
    assert ledger.rules() == {"single", "daily"}
    assert {alert.count for alert in list_alerts(ledger.connection)} == {1}


def test_a_run_leaves_at_once_while_another_is_at_it(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7303016)")
        assert ledger.watch().busy
        assert ledger.findings() == []
        other.execute("SELECT pg_advisory_unlock(7303016)")  # a connection that closes gives it back a moment later
        assert not ledger.watch().busy
    assert ledger.rules() == {"single", "daily"}


def test_runs_at_the_same_time_count_nothing_twice(ledger: Ledger) -> None:
    for number in range(20):
        ledger.add(NOON, amount="50000.00", user_id=f"user-{number}")
    with ThreadPoolExecutor(4) as pool:
        for run in [pool.submit(ledger.watch) for _ in range(4)]:
            run.result()
    assert len(ledger.findings("single")) == 20
    assert {alert.count for alert in list_alerts(ledger.connection, rule="transaction-single")} == {1}


def test_a_backlog_is_worked_off_over_several_runs(ledger: Ledger) -> None:
    ledger.configured(run_limit_s=1, overlap_s=1, slice_s=1)
    ledger.watch(NOON - MINUTE)
    rows = {str(ledger.add(NOON + number * MINUTE, amount="50000.00")) for number in range(30)}
    for _ in range(60):
        if max(table.behind_s for table in ledger.watch().tables) == 0:
            break
    assert {one[3] for one in ledger.findings("single")} == rows


def test_too_many_findings_share_one_alert_and_are_all_kept(ledger: Ledger) -> None:
    ledger.configured(alerts_each=2, daily={"enabled": False})
    for number in range(5):
        ledger.add(NOON + timedelta(seconds=number), amount="50000.00", user_id=f"user-{number}")
    report = ledger.watch(NOON + timedelta(seconds=10))
    assert (report.tables[0].findings, report.tables[0].alerts) == (5, 3)
    alerts = {alert.subject: alert for alert in list_alerts(ledger.connection)}
    assert set(alerts) == {"user-0", "user-1", "many subjects of transactions"}
    assert alerts["many subjects of transactions"].evidence["findings"] == 3
    assert len(ledger.findings()) == 5


def test_an_alert_with_no_new_finding_is_resolved_after_a_while(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    ledger.configured(quiet_hours=1, daily={"enabled": False})
    ledger.watch(NOON + MINUTE)
    assert ledger.watch(NOON + timedelta(minutes=59)).resolved == 0
    assert ledger.watch(NOON + timedelta(minutes=61)).resolved == 1


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_server_s_time_zone_changes_nothing(ledger: Ledger, zone: str) -> None:
    name = ledger.settings.database_dsn.rpartition("/")[2].partition("?")[0]
    ledger.connection.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")
    ledger.add(NOON, amount="12500.00")
    ledger.add(NOON + MINUTE, amount="12500.00")
    ledger.watch()
    assert [one[3] for one in ledger.findings()] == ["ZAR 2026-05-20"]


def test_nothing_is_evaluated_while_the_watch_is_switched_off(ledger: Ledger) -> None:
    ledger.add(NOON, amount="50000.00")
    ledger.configured(enabled=False)
    assert ledger.watch().tables == ()
    assert ledger.findings() == []


def test_every_rule_is_listed_with_its_threshold(ledger: Ledger) -> None:
    ledger.configured(dormant={"enabled": False})
    listed = {rule.name: rule.threshold for rule in rules(ledger.settings)}
    assert {rule.name for rule in watch_rules(ledger.settings.watch_transactions)} <= set(listed)
    assert listed["transaction-single"] == "from ZAR 50000.00"
    assert listed["transaction-dormant"] == "switched off"


def test_rows_of_an_earlier_month_are_found_in_warm(ledger: Ledger) -> None:
    before = ledger.add(NOON - timedelta(days=120))
    ledger.connection.execute("ALTER TABLE transactions_partitioned DETACH PARTITION transactions_2026_01")
    ledger.connection.execute(
        "ALTER TABLE transactions_archive_warm ATTACH PARTITION transactions_2026_01"
        " FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')"
    )
    row = ledger.add(NOON)
    ledger.watch()
    assert [one[4]["row_ids"] for one in ledger.findings("dormant")] == [[str(before), str(row)]]


@pytest.mark.parametrize("table", ["watch_findings", "alerts"])
def test_a_finding_that_postgresql_does_not_store_stops_the_run_and_is_found_by_the_next_one(
    ledger: Ledger, table: str
) -> None:
    ledger.add(NOON, amount="50000.00")
    with dropping(ledger.connection, table), pytest.raises(NotStoredError, match=f"{table}: 1 row was sent"):
        ledger.watch()
    assert ledger.findings() == []
    ledger.watch()
    assert {one.rule for one in list_alerts(ledger.connection)} == {"transaction-single", "transaction-daily"}


def test_a_mean_that_postgresql_does_not_store_stops_the_run(ledger: Ledger) -> None:
    ledger.configured(unusual={"enabled": True, "baseline_days": 1})
    ledger.add(NOON - timedelta(days=1))
    with dropping(ledger.connection, "watch_baselines"), pytest.raises(NotStoredError, match="watch_baselines: 1 row"):
        ledger.watch()
    ledger.watch()
    assert ledger.connection.execute("SELECT sum(samples) FROM watch_baselines").fetchone() == (1,)
