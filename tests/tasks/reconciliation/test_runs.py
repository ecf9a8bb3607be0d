"""A day is reconciled once, however often it is run: on real servers, over every tier, from one day to the next."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.sql import SQL, Identifier

from ledger.business_days import day_of, day_start
from ledger.errors import ConfigError, ConflictError, DataError, OwnershipError, TreasuryError
from ledger.months import Month
from sql.connection import connect
from storage.store import ObjectStore
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.reconciliation.vocabulary import BreakState, Decision
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import PROJECT, Ledger
from tests.tasks.reconciliation.books import DAY, NOON, Books, closed_by_two, prefix_of

NEXT = DAY + timedelta(days=1)


def test_the_same_day_run_again_is_a_new_run_with_the_same_digest_and_no_break_twice(books: Books) -> None:
    books.both()
    books.own()
    books.line(amount=Decimal("55.00"))
    statement = books.statement()
    first, second = books.run(statement), books.run(statement)
    assert first.summary.digest == second.summary.digest
    assert books.breaks() == [("missing_here",), ("missing_there",)]
    runs = books.sql("SELECT run_id, supersedes, digest FROM recon_runs ORDER BY run_id")
    assert [(run["run_id"], run["supersedes"]) for run in runs] == [
        (first.run_id, None),
        (second.run_id, first.run_id),
    ]
    assert books.records() == []


def test_a_row_of_ours_with_parts_of_a_cent_is_refused_by_name_and_not_rounded(books: Books) -> None:
    books.widen_amounts()
    books.both(amount=Decimal("10.0100"))
    statement = books.statement()
    assert books.run(statement).summary.figures["breaks"] == 0
    row = books.own(amount=Decimal("10.0050"))
    reason = rf"1 row has an amount with a part of a cent: 10.0050 ZAR of {DAY} in {row['id']}"
    with pytest.raises(DataError, match=reason):
        books.run(statement)


@pytest.mark.heavy("the digest of a run is tested beside it")
def test_another_row_of_ours_gives_another_digest(books: Books) -> None:
    books.both()
    statement = books.statement()
    first = books.run(statement)
    books.own(status="failed")
    assert books.run(statement).summary.digest != first.summary.digest


def test_a_dry_run_writes_nothing_and_says_the_same(books: Books, tmp_path: Path) -> None:
    books.both()
    books.own()
    statement = books.statement()
    dry = books.run(statement, dry_run=True, output=tmp_path / "reports")
    for table in ("recon_runs", "recon_breaks", "recon_matches", "recon_resolutions", "recon_events"):
        assert books.sql(SQL("SELECT * FROM {}").format(Identifier(table)).as_string()) == []
    store = ObjectStore(books.settings)
    assert store.keys("reconciliation") == []
    assert json.loads((tmp_path / "reports" / "report.json").read_text())["digest"] == dry.summary.digest
    assert (dry.run_id, books.run(statement).summary.digest) == (None, dry.summary.digest)


def test_a_break_that_a_later_run_no_longer_finds_is_closed_by_a_record_and_opened_again_by_one(books: Books) -> None:
    row = books.both()
    short = books.statement()
    books.line(row)
    books.line(amount=Decimal("55.00"))
    long = books.statement()
    books.run(long)
    books.run(short)
    assert books.breaks("closed") == [("missing_here",)]
    books.run(long)
    assert books.breaks("open") == [("missing_here",)]
    assert books.records() == [("closed", "not_found_again"), ("reopened", "found_again")]


def test_a_row_whose_line_comes_the_next_day_is_open_until_then(books: Books) -> None:
    row = books.own()
    books.run()
    assert books.breaks("open") == [("missing_there",)]
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    late = books.statement(NEXT)
    first = books.run(late, NEXT)
    assert books.breaks("closed") == [("missing_there",)]
    assert books.breaks("open") == [("late_posting",)]
    assert books.records() == [("closed", "counterpart_arrived")]
    assert books.run(late, NEXT).summary.digest == first.summary.digest  # also now that the break is closed
    again = books.run(books.statement())  # the first day once more, its statement still empty
    assert again.summary.figures["currencies"]["ZAR"]["items"]["own_on_other_statements"]["value"] == "100.00"
    assert books.breaks("open") == [("late_posting",)]


@pytest.mark.heavy("as a row whose line comes the next day")
def test_a_break_of_last_month_closes_by_itself_when_its_line_comes(books: Books) -> None:
    row = books.own(created_at=NOON - timedelta(days=40))
    long_ago = day_of(row["created_at"])
    books.run(books.statement(long_ago), long_ago)
    books.both()
    books.line(row, occurred_at=NOON)
    statement = books.statement()
    first = books.run(statement)
    assert books.records() == [("closed", "counterpart_arrived")]
    assert books.run(statement).summary.digest == first.summary.digest
    assert books.breaks("open") == [("late_posting",)]


@pytest.mark.heavy("as a row whose line comes the next day")
def test_a_line_whose_row_comes_the_next_day_closes_too(books: Books) -> None:
    line = books.line()
    early = books.statement()
    books.run(early)
    books.own(
        created_at=NOON + timedelta(days=1),
        supplier_transaction_id=line["supplier_transaction_id"],
        reference=line["reference"],
    )
    empty = books.statement(NEXT)
    first = books.run(empty, NEXT)
    assert books.records() == [("closed", "counterpart_arrived")]
    assert books.run(empty, NEXT).summary.digest == first.summary.digest
    books.run(early)
    assert books.breaks("open").count(("missing_here",)) == 0
    books.run(empty, NEXT)  # its row is the earlier day's by now, and the break stays closed
    assert books.breaks("open").count(("missing_here",)) == 0


@pytest.mark.heavy("as a break that a later run no longer finds")
def test_a_counterpart_that_a_corrected_statement_takes_back_opens_its_break_again(books: Books) -> None:
    row = books.own()
    books.run()
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    books.run(books.statement(NEXT), NEXT)
    books.run(books.statement(NEXT), NEXT)  # corrected: the line was not theirs
    assert ("missing_there",) in books.breaks("open")
    assert books.records()[:2] == [("closed", "counterpart_arrived"), ("reopened", "counterpart_gone")]


@pytest.mark.heavy("as a break that a later run no longer finds")
def test_a_break_of_the_next_day_comes_back_when_the_line_that_had_closed_it_goes(books: Books) -> None:
    """Closed by a run of the day before, it was lost: no run of either day opened it again."""
    row = books.own(created_at=NOON + timedelta(days=1))
    books.run(books.statement(NEXT), NEXT)
    books.line(row, occurred_at=NOON)
    books.run()
    assert books.breaks("closed") == [("missing_there",)]
    assert books.run(books.statement()).waiting == 1  # corrected: the line is dropped
    assert books.breaks("open") == [("missing_there",)]
    assert books.records()[:2] == [("closed", "counterpart_arrived"), ("reopened", "counterpart_gone")]
    assert books.run(books.statement(NEXT), NEXT).waiting == 1


@pytest.mark.heavy("as a break that a later run no longer finds")
def test_a_break_that_was_closed_by_whatever_is_open_again_when_its_day_finds_it(books: Books) -> None:
    row = books.own(created_at=NOON + timedelta(days=1))
    books.run(books.statement(NEXT), NEXT)
    books.line(row, occurred_at=NOON)
    books.run()
    books.sql("ALTER TABLE recon_runs DISABLE TRIGGER USER")
    books.sql("UPDATE recon_runs SET day = day - 9 WHERE day = %s", DAY)  # as if its run had been another day's
    books.sql("ALTER TABLE recon_matches DISABLE TRIGGER USER")
    books.sql("DELETE FROM recon_matches")
    books.run(books.statement(NEXT), NEXT)
    assert ("missing_there",) in books.breaks("open")
    assert books.records() == [("closed", "counterpart_arrived"), ("reopened", "found_again")]


@pytest.mark.heavy("as a break that a later run no longer finds")
def test_the_limit_of_carried_breaks_hides_none_that_a_run_of_this_day_has_closed(books: Books) -> None:
    row = books.own()
    books.run()
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    books.run(books.statement(NEXT), NEXT)
    books.rules(carry_limit=0)
    books.run(books.statement(NEXT), NEXT)
    assert ("missing_there",) in books.breaks("open")


@pytest.mark.heavy("as a break that a later run no longer finds")
def test_a_break_that_opens_again_in_a_closed_period_goes_to_the_day_of_the_run(books: Books) -> None:
    """It stayed in the closed period, where nobody could ever resolve it."""
    row = books.own()
    books.run()
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    books.run(books.statement(NEXT), NEXT)
    closed_by_two(books, DAY, DAY)
    books.run(books.statement(NEXT), NEXT)
    (found,) = books.sql("SELECT break_id, state, period_day FROM recon_breaks WHERE class = 'missing_there'")
    assert (found["state"], found["period_day"]) == ("open", NEXT)
    done = resolve(books.settings, found["break_id"], "thandi", Decision.WRITE_OFF, "too small")
    assert done.state is BreakState.RESOLVED
    with connect(books.settings.database_dsn, "tests") as connection:
        assert verify_chain(connection).event_no == 6


@pytest.mark.heavy("the engine's tests have duplicates of other days")
def test_a_line_that_comes_on_two_days_is_a_duplicate_on_the_second(books: Books) -> None:
    row = books.both()
    books.run()
    books.line(row)
    books.run(books.statement(NEXT), NEXT)
    assert books.breaks() == [("duplicate",)]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_a_day_that_is_archived_already_gives_the_same_result(books: Books, tier: str) -> None:
    books.both()
    books.own(amount=Decimal("40.00"))
    books.line(amount=Decimal("55.00"))
    statement = books.statement()
    hot = books.run(statement, dry_run=True)
    table = books.settings.table("vas_transactions")
    assert warm_month(books.settings, table, Month.of(NOON))
    if tier == "cold":
        archive_month(books.settings, table, Month.of(NOON))
    assert books.run(statement).summary.digest == hot.summary.digest
    assert books.breaks() == [("missing_here",), ("missing_there",)]


def archived(books: Books, month: Month) -> None:
    """Move a month from hot to cold."""
    table = books.settings.table("vas_transactions")
    assert warm_month(books.settings, table, month)
    archive_month(books.settings, table, month)


@pytest.mark.heavy("a day whose month is archived is read, too")
def test_the_first_of_a_month_is_found_also_when_the_month_before_it_is_cold(books: Books) -> None:
    """Its first two hours, by Johannesburg's clock, are in UTC's month before, and so is the day before it."""
    first = date(2026, 3, 1)
    for moment in (day_start(first) + timedelta(minutes=30), day_start(first) + timedelta(hours=12)):
        books.both(created_at=moment)
    books.own(created_at=day_start(first) + timedelta(hours=1))
    late = books.own(created_at=day_start(first) - timedelta(hours=1))  # of the day before, on this statement
    books.line(late, occurred_at=day_start(first))
    statement = books.statement(first)
    hot = books.run(statement, first, dry_run=True)
    assert (hot.summary.figures["own_rows"], hot.summary.figures["matched_lines"]) == (3, 3)
    archived(books, Month(2026, 2))
    assert books.run(statement, first).summary.digest == hot.summary.digest
    assert sorted(books.breaks()) == [("late_posting",), ("missing_there",)]


@pytest.mark.heavy("a day whose month is archived is read, too")
def test_a_row_of_ours_that_is_cold_by_now_is_still_carried(books: Books) -> None:
    row = books.own(created_at=NOON - timedelta(days=40))
    long_ago = day_of(row["created_at"])
    books.run(books.statement(long_ago), long_ago)
    archived(books, Month.of(row["created_at"]))
    books.line(row, occurred_at=NOON)
    books.run()
    assert books.records() == [("closed", "counterpart_arrived")]
    assert books.breaks("open") == [("late_posting",)]


@pytest.mark.heavy("queries and reads over HTTP watch the same while months move")
def test_a_day_is_whole_while_its_month_moves(books: Books) -> None:
    books.both()
    books.own(amount=Decimal("40.00"))
    statement = books.statement()
    before = books.run(statement, dry_run=True).summary.digest
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(archived, books, Month.of(NOON))
        digests = [books.run(statement, dry_run=True).summary.digest]
        while not moving.done():
            digests.append(books.run(statement, dry_run=True).summary.digest)
        moving.result()
    digests.append(books.run(statement, dry_run=True).summary.digest)
    assert set(digests) == {before}


@pytest.mark.heavy("the edges of closed days are Johannesburg's, too")
def test_a_day_is_one_of_johannesburg_whatever_the_servers_think(books: Books) -> None:
    """Two rows at each end of the day, under a PostgreSQL and a process that are in Kathmandu."""
    with psycopg.connect(books.settings.database_dsn, autocommit=True) as connection:
        name = SQL(", ").join([Identifier(connection.info.dbname)])
        connection.execute(SQL("ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'").format(name))
    millisecond = timedelta(milliseconds=1)
    start, end = day_start(DAY), day_start(NEXT)
    for moment in (start - millisecond, start, end - millisecond, end):
        books.own(created_at=moment)
    statement = books.statement()
    program = (
        "import sys; from datetime import date; from config import load_settings;"
        "from tasks.reconciliation.runs.request import RunRequest;"
        "from tasks.reconciliation.runs.run import reconcile_day;"
        "day = date.fromisoformat(sys.argv[2]);"
        "print(reconcile_day(load_settings(), RunRequest('flash', day, sys.argv[1])).summary.digest)"
    )
    there = subprocess.run(
        [sys.executable, "-c", program, str(statement), DAY.isoformat()],
        env=os.environ | books.settings.environment() | {"TZ": "Asia/Kathmandu"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = books.sql("SELECT own FROM recon_breaks ORDER BY break_id")
    assert [row["own"]["at_ms"] for row in rows] == [
        int(moment.timestamp() * 1000) for moment in (start, end - millisecond)
    ]
    assert there.stdout.strip() == books.run(statement).summary.digest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"supplier": "peach"}, "line 1: supplier: must be flash"),
        ({"status": "Success"}, "line 1: status: must be one of pending, completed, failed, reversed"),
        ({"kind": "sale"}, "line 1: kind: must be one of"),
        ({"line_no": 2}, "line 2: line_no: appears more than once"),
    ],
)
def test_a_statement_that_is_not_canonical_is_refused_by_line_and_field(
    books: Books, change: dict[str, Any], named: str
) -> None:
    books.line(**change)
    books.line()
    with pytest.raises(DataError, match=named):
        books.run()
    assert books.sql("SELECT * FROM recon_runs") == []


def test_every_line_s_own_day_is_looked_at_and_not_the_first_one_s(books: Books, tmp_path: Path) -> None:
    books.line()
    books.line()
    table = pq.read_table(books.statement())
    days = table["settlement_date"].to_pylist()
    days[1] = NEXT
    mixed = table.set_column(7, table.schema.field(7), [days])
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    with pytest.raises(DataError, match=f"line 2: settlement_date: is {NEXT}, the statement is of {DAY}"):
        books.run(tmp_path / "mixed.parquet")


def test_a_file_that_is_no_statement_is_named(books: Books, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("Date;Reference")
    with pytest.raises(DataError, match=r"text\.parquet: is not a Parquet file"):
        books.run(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="there is no such file"):
        books.run(tmp_path / "absent.parquet")
    pq.write_table(pq.read_table(books.statement()).drop_columns(["amount"]), tmp_path / "short.parquet")
    with pytest.raises(DataError, match=r"short\.parquet: amount must be a column"):
        books.run(tmp_path / "short.parquet")


def test_an_unknown_supplier_is_told(books: Books) -> None:
    request = RunRequest("blitz", DAY, str(books.statement()))
    with pytest.raises(ConfigError, match="'blitz' is not known; known: flash, mobilemart, peach"):
        reconcile_day(books.settings, request)


def test_one_supplier_is_reconciled_by_one_run_at_a_time(books: Books) -> None:
    statement = books.statement()
    with connect(books.settings.database_dsn, "tests") as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('flash', 7303014))")
        with pytest.raises(ConflictError, match="flash is being reconciled by another run"):
            books.run(statement)
    assert books.run(statement).run_id is not None


@pytest.mark.heavy("a dry run is tested beside it")
def test_when_the_chain_cannot_be_written_nothing_is(books: Books) -> None:
    """The defect of others: an insert into the chain that always failed, and nobody was told."""
    books.own()
    statement = books.statement()
    books.sql("ALTER TABLE recon_events ADD CONSTRAINT broken CHECK (event_no < 1)")
    with pytest.raises(TreasuryError, match="broken"):
        books.run(statement)
    for table in ("recon_runs", "recon_breaks", "recon_matches"):
        assert books.sql(SQL("SELECT * FROM {}").format(Identifier(table)).as_string()) == []
    books.sql("ALTER TABLE recon_events DROP CONSTRAINT broken")
    assert books.run(statement).run_id is not None


@pytest.mark.heavy("as a chain that cannot be written: one transaction")
def test_a_run_that_is_killed_while_it_writes_leaves_nothing_and_runs_again(books: Books) -> None:
    books.own()
    statement = books.statement()
    program = (
        "import os, sys; from datetime import date; from config import load_settings;"
        "from tasks.reconciliation.audit import chain;"
        "from tasks.reconciliation.runs import run;"
        "chain.record_run = lambda *_: os._exit(9);"
        "run.reconcile_day(load_settings(), run.RunRequest('flash', date.fromisoformat(sys.argv[2]), sys.argv[1]))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(statement), DAY.isoformat()],
        env=os.environ | books.settings.environment(),
        cwd=PROJECT,
        check=False,
        timeout=120,
    )
    assert killed.returncode == 9
    assert books.sql("SELECT * FROM recon_runs") == []
    deadline = time.monotonic() + 30
    while True:  # the server notices the dead connection, and frees its lock, in its own time
        try:
            result = books.run(statement)
            break
        except ConflictError:
            assert time.monotonic() < deadline
    store = ObjectStore(books.settings)
    assert store.exists(f"{prefix_of(books, result)}/matches.parquet")
    assert books.breaks() == [("missing_there",)]


def test_the_matches_of_a_run_are_in_the_archive_and_the_notable_ones_in_postgresql(
    books: Books, tmp_path: Path
) -> None:
    plain = books.both()
    scored = books.own(supplier_transaction_id=None)
    books.line(scored, reference=None, supplier_transaction_id="S-9")
    result = books.run()
    target = tmp_path / "matches.parquet"
    stored = ObjectStore(books.settings).fetch(f"{prefix_of(books, result)}/matches.parquet", target)
    rows = pq.read_table(target).to_pylist()
    assert [(row["line_no"], row["own_id"], row["method"]) for row in rows] == [
        (1, plain["id"], "supplier_id"),
        (2, scored["id"], "scored"),
    ]
    (notable,) = books.sql("SELECT line_no, own_id, own_created_at, method, state FROM recon_matches")
    assert notable == {
        "line_no": 2,
        "own_id": scored["id"],
        "own_created_at": scored["created_at"],
        "method": "scored",
        "state": "confirmed",
    }
    (run,) = books.sql("SELECT figures FROM recon_runs")
    assert run["figures"]["objects"]["matches.parquet"] == stored.sha256.hex()


def test_a_day_that_no_statement_was_taken_in_for_says_so(books: Books) -> None:
    with pytest.raises(DataError, match=f"flash {DAY}: no statement has been taken in"):
        statement_of(books.settings, "flash", DAY)


@pytest.mark.heavy("a line of the next day is tested beside it")
def test_what_is_found_before_the_day_is_over_is_not_told_as_final(books: Books) -> None:
    tomorrow = day_of(datetime.now(UTC)) + timedelta(days=1)
    books.line(occurred_at=datetime.now(UTC))
    told = books.run(day=tomorrow).markdown()
    assert "**Warning**: the day is not over: what comes later is missing here, and these breaks are not final." in told
    books.both()
    assert "Warning" not in books.run().markdown()


@pytest.mark.heavy("copies are refused by ownership, which the archive tests")
def test_a_copy_of_the_database_writes_no_report(books: Books, copied: Copier, tmp_path: Path) -> None:
    books.both()
    statement = books.statement()
    books.run(statement)
    twin = copied(Ledger(books.settings, tmp_path))
    store = ObjectStore(books.settings)
    before = {key: store.read_bytes(key) for key in store.keys("reconciliation")}
    assert len(before) > 4
    request = RunRequest("flash", DAY, str(statement), "test")
    with pytest.raises(OwnershipError, match="treasury installation"):
        reconcile_day(twin.settings, request)
    assert {key: store.read_bytes(key) for key in store.keys("reconciliation")} == before
    assert twin.sql("SELECT count(*) FROM recon_runs") == [(1,)]
    short = twin.sql("SELECT left(installation_id::text, 8) FROM installation")[0][0]
    assert all(short in key for key in before)
