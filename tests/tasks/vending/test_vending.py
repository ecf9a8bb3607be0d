"""From a pending row through a supplier that fails in every way to one sale and one right status."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from config import Settings
from config.suppliers import SimulatorSettings
from ledger.business_days import day_of, day_start, days_between
from ledger.errors import ConfigError, ConflictError, DataError, NotStoredError
from ledger.identifiers import truncate_ms
from ledger.months import Month
from ledger.transactions import Status
from sql.connection import connect
from sql.errors import translate
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from suppliers.registry import open_suppliers
from suppliers.simulation.faults import Fault
from suppliers.verdicts import PurchaseState, Verdict, failure_of
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.statements.intake import take_in
from tasks.vending.purchase import SettleReport, Vending, settle_vends
from tasks.vending.rows import Finish, finish_in, vend_database
from tests.dropping import dropping
from tests.sql.ledger_rows import add_row
from tests.suppliers.conftest import MOBILE, NAMES, SALES, Simulated, simulators

LONG = timedelta(hours=1)


class Till:
    """Rows to vend, and what became of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = settings.table("vas_transactions")

    def rows(self, name: str, count: int = 1, **changes: Any) -> list[UUID]:
        """Pending rows for a supplier."""
        vas_type, product, amount = SALES[name]
        now = truncate_ms(datetime.now(UTC))
        given = {
            "status": "pending", "supplier": name, "vas_type": vas_type.value, "supplier_product_id": product,
            "amount": amount, "mobile_number": MOBILE, **changes,
        }  # fmt: skip
        with connect(self.settings.database_dsn, "tests") as connection:
            return [add_row(connection, self.table, now, **given) for _ in range(count)]

    def look(self, row_id: UUID) -> dict[str, Any]:
        """One row as it is stored."""
        with psycopg.connect(self.settings.database_dsn, row_factory=psycopg.rows.dict_row) as connection:
            row = connection.execute("SELECT * FROM vas_transactions_partitioned WHERE id = %s", (row_id,)).fetchone()
        assert row is not None
        return row

    def failure(self, row_id: UUID) -> str | None:
        """Why a row's purchase failed, as its client is told."""
        with psycopg.connect(self.settings.database_dsn) as connection:
            found = connection.execute("SELECT reason FROM vend_failures WHERE row_id = %s", (row_id,)).fetchone()
        return None if found is None else found[0]

    @asynccontextmanager
    async def vending(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> AsyncIterator[Vending]:
        """A `Vending` with clients and connections of its own."""
        async with open_suppliers(self.settings.suppliers) as suppliers, vend_database(self.settings) as database:
            yield Vending(self.settings, database, suppliers, clock)

    def run(self, work: Callable[[Vending], Awaitable[Any]], later: timedelta = timedelta()) -> Any:
        """Run ``work`` with a vending whose clock is ahead by ``later``."""

        async def inside() -> Any:
            async with self.vending(lambda: datetime.now(UTC) + later) as vending:
                return await work(vending)

        return asyncio.run(inside())

    def settle(self, later: timedelta = LONG) -> SettleReport:
        """One sweep, as if ``later``."""
        report: SettleReport = self.run(lambda vending: vending.settle(), later)
        return report


def ready(settings: Settings, simulated: Simulated, **changes: Any) -> Settings:
    """Settings with partitions for this month and the next, and with the simulators."""
    with connect(settings.database_dsn, "tests") as connection:
        for table in settings.registry.values():
            prepare_table(connection, settings, table)
            for distance in (0, 1):
                ensure_partition(connection, settings, table, Month.of(datetime.now(UTC)).plus(distance))
    return settings.model_copy(update={"suppliers": simulated.settings.model_copy(update=changes)})


@pytest.fixture
def till(settings: Settings, simulated: Simulated) -> Till:
    """A till at which nothing goes wrong by itself."""
    return Till(ready(settings, simulated))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_vend_ends_its_row_with_what_the_supplier_said(till: Till, simulated: Simulated, name: str) -> None:
    settings = simulated.with_(name, commission={SALES[name][0].value: Decimal("0.03")})
    till.settings = till.settings.model_copy(update={"suppliers": settings})
    (row_id,) = till.rows(name)
    vended = till.run(lambda vending: vending.vend(row_id))
    (sale,) = simulated.purchases(name)
    row = till.look(row_id)
    assert vended.status is Status.COMPLETED
    assert (row["status"], row["supplier_transaction_id"], row["supplier_reference"]) == (
        "completed", sale.transaction_id, sale.reference,
    )  # fmt: skip
    assert row["commission"] == (row["amount"] * Decimal("0.03")).quantize(Decimal("0.01"))
    assert row["processed_at"] is not None
    assert till.failure(row_id) is None


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", NAMES)
def test_of_many_who_vend_one_row_one_buys(till: Till, simulated: Simulated, name: str) -> None:
    (row_id,) = till.rows(name)

    async def all_at_once(vending: Vending) -> list[Any]:
        return await asyncio.gather(*(vending.vend(row_id) for _ in range(8)), return_exceptions=True)

    outcomes = till.run(all_at_once)
    assert sorted(type(one).__name__ for one in outcomes) == ["ConflictError"] * 7 + ["Vended"]
    assert len(simulated.purchases(name)) == 1
    with pytest.raises(ConflictError, match="is completed"):
        till.run(lambda vending: vending.vend(row_id))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_fails_the_row_and_sells_nothing(
    till: Till, simulated: Simulated, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "treasury.vending")
    refused = {"mobile_number": "0830000000"} if name != "peach" else {"amount": "9900.04"}
    (row_id,) = till.rows(name, 1, **refused)
    assert till.run(lambda vending: vending.vend(row_id)).status is Status.FAILED
    assert till.look(row_id)["status"] == "failed"
    assert till.look(row_id)["commission"] == 0
    assert simulated.purchases(name) == []
    verdict = Verdict.DECLINED if name == "peach" else Verdict.INVALID
    assert f"vend {row_id} at {name} failed: {verdict}" in caplog.messages
    assert till.failure(row_id) == failure_of(verdict)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({"mobile_number": None}, Verdict.INVALID), ({"supplier_product_id": "no number"}, Verdict.INVALID)],
)
def test_what_cannot_be_sent_fails_the_row_and_says_why(till: Till, changes: dict[str, Any], verdict: Verdict) -> None:
    (row_id,) = till.rows("flash", **changes)
    vended = till.run(lambda vending: vending.vend(row_id))
    assert (vended.status, vended.outcome.verdict) == (Status.FAILED, verdict)
    assert vended.outcome.detail.startswith("not sent: ")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_address_of_ours_is_no_refusal_of_the_order(till: Till, simulated: Simulated, name: str) -> None:
    """The simulators' own root has no API."""
    root = simulated.url
    given = type(simulated.with_(name).connections[name]).model_fields
    wrong = {field: root for field in given if field.endswith("_url") and field != "statement_url"}
    till.settings = till.settings.model_copy(update={"suppliers": simulated.with_(name, **wrong)})
    (row_id,) = till.rows(name)
    assert till.run(lambda vending: vending.vend(row_id)).status is Status.FAILED
    assert till.failure(row_id) == "unavailable"


def test_nothing_is_claimed_for_what_cannot_be_vended(till: Till) -> None:
    (dollars,) = till.rows("flash", currency="USD")
    (elsewhere,) = till.rows("peach")
    with pytest.raises(DataError, match="currency"):
        till.run(lambda vending: vending.vend(dollars))
    with pytest.raises(DataError, match="there is no VAS transaction"):
        till.run(lambda vending: vending.vend(UUID("01890000-0000-7000-8000-000000000000")))
    suppliers = till.settings.suppliers
    off = suppliers.peach.model_copy(update={"enabled": False})
    till.settings = till.settings.model_copy(update={"suppliers": suppliers.model_copy(update={"peach": off})})
    with pytest.raises(ConfigError, match="peach is not enabled"):
        till.run(lambda vending: vending.vend(elsewhere))
    assert {till.look(dollars)["status"], till.look(elsewhere)["status"]} == {"pending"}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_process_that_dies_after_the_sale_leaves_it_to_the_sweep(till: Till, simulated: Simulated, name: str) -> None:
    (row_id,) = till.rows(name)

    async def die(vending: Vending) -> None:
        async def dead(*_: Any, **__: Any) -> None:
            raise asyncio.CancelledError

        vending._end = dead  # type: ignore[method-assign, assignment]  # killed between the answer and the row
        with pytest.raises(asyncio.CancelledError):
            await vending.vend(row_id)

    till.run(die)
    assert till.look(row_id)["status"] == "processing"
    assert till.settle(timedelta()).open == 0  # too young: its own vend might still be at it
    report = till.settle()
    (sale,) = simulated.purchases(name)
    assert (report.completed, report.failed, report.open) == (1, 0, 0)
    assert (till.look(row_id)["status"], till.look(row_id)["supplier_transaction_id"]) == (
        "completed",
        sale.transaction_id,
    )
    assert till.settle().completed == 0


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["mobilemart", "peach"])
def test_a_process_that_dies_before_the_sale_ends_as_failed(till: Till, simulated: Simulated, name: str) -> None:
    (row_id,) = till.rows(name)

    async def die(vending: Vending) -> None:
        async def dead(*_: Any) -> None:
            raise asyncio.CancelledError

        vending._bought = dead  # type: ignore[method-assign, assignment]  # killed between the claim and the call
        with pytest.raises(asyncio.CancelledError):
            await vending.vend(row_id)

    till.run(die)
    assert till.settle().failed == 1
    assert till.look(row_id)["status"] == "failed"
    assert till.failure(row_id) == "not_sold"
    assert simulated.purchases(name) == []


def test_a_vend_that_was_never_begun_fails_without_a_purchase(till: Till, simulated: Simulated) -> None:
    (row_id,) = till.rows("flash")
    with psycopg.connect(till.settings.database_dsn) as connection:
        statement = "UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s"
        connection.execute(statement, (row_id,))
    assert till.settle().failed == 1
    assert till.look(row_id)["status"] == "failed"
    assert till.failure(row_id) == "not_sold"
    assert simulated.book.all("flash") == []
    with pytest.raises(ConflictError):
        till.run(lambda vending: vending.vend(row_id))


def test_rows_that_are_no_vends_of_ours_are_left_alone(till: Till, simulated: Simulated) -> None:
    by_others = till.rows("flash", 3, supplier_reference="ORD-1")
    without = till.rows("flash", 2)
    report = till.settle()
    assert (report.not_ours, report.completed, report.failed, report.open) == (3, 0, 0, 0)
    assert {till.look(row_id)["status"] for row_id in by_others + without} == {"pending"}
    assert simulated.book.all("flash") == []


@pytest.mark.parametrize("reference", ["z" * 16, "order00000012345"])
def test_a_webhook_whose_reference_has_no_time_is_refused_by_name(till: Till, reference: str) -> None:
    with pytest.raises(DataError, match="reference: holds no time"):
        till.run(lambda vending: vending.look_again("peach", reference))


def test_one_supplier_that_is_away_stops_no_other(till: Till, simulated: Simulated) -> None:
    flash, peach = till.rows("flash")[0], till.rows("peach", amount="9900.01")[0]

    async def lose(vending: Vending) -> None:
        await vending._suppliers["flash"].authenticate()
        simulated.plan("flash", *[Fault.CUT_AFTER] * 6)
        assert (await vending.vend(flash)).status is Status.PROCESSING
        assert (await vending.vend(peach)).status is Status.PROCESSING

    till.run(lose)
    simulated.plan("flash", *[Fault.BROKEN] * 9)
    first, second = till.settle(), till.settle()
    assert (first.completed, first.open) in [(0, 2), (1, 1)]
    assert {supplier for _, supplier, _ in first.still_open} >= {"flash"}
    simulated.plan("flash")
    till.settle()
    assert second.failed == 0
    assert {till.look(row_id)["status"] for row_id in (flash, peach)} == {"completed"}


def test_the_command_and_the_flow_settle_with_connections_of_their_own(till: Till) -> None:
    till.rows("flash", 2)
    report = asyncio.run(settle_vends(till.settings))
    assert (report.completed, report.failed, report.open) == (0, 0, 0)


def test_why_a_purchase_failed_is_kept_for_a_time(till: Till) -> None:
    (row_id,) = till.rows("flash", mobile_number=None)
    till.run(lambda vending: vending.vend(row_id))
    for days, kept in ((89, "invalid"), (91, None)):
        till.run(lambda vending: vending.forget_failures(), timedelta(days=days))
        assert till.failure(row_id) == kept


AIRTIME = {"vas_type": "airtime", "supplier_product_id": "1001", "amount": "50.00"}  # MobileMart's has no reprint


def _vend_all(settings: Settings, folder: Path, count: int, faults: float, seed: int) -> None:
    """``count`` vends at suppliers where a share of the requests goes wrong; some of the processes die on the way.

    The sweep ends all of them but MobileMart's airtime, which its statements end.
    """
    simulator = SimulatorSettings(faults=faults, seed=seed, hang_s=5)
    changes = {"call_timeout_s": 1.0, "token_timeout_s": 1.0, "attempts": 4}
    with simulators(simulator, **changes) as running:
        till = Till(ready(settings, running))
        chance = random.Random(seed)  # noqa: S311  # repeatable
        each = count // (len(NAMES) + 1)
        airtime = till.rows("mobilemart", each, **AIRTIME)
        rows = {row_id: name for name in NAMES for row_id in till.rows(name, each)}
        rows |= dict.fromkeys(airtime, "mobilemart")

        async def vend(vending: Vending) -> None:
            gate = asyncio.Semaphore(32)

            async def one(row_id: UUID) -> None:
                async with gate:
                    task = asyncio.create_task(vending.vend(row_id))
                    if chance.random() < 0.1:  # its process dies at any point
                        await asyncio.wait({task}, timeout=chance.random() * 0.2)
                        task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

            await asyncio.gather(*map(one, rows))

        started = day_of(datetime.now(UTC))
        till.run(vend)
        for _ in range(99):
            left = {row_id for row_id, *_ in till.settle().still_open}
            if left <= set(airtime):
                break
        assert left <= set(airtime)
        assert left, "no airtime stayed open: nothing is left for the statement to end"
        assert _by_statements(till, running, folder, started) == len(left)
        _compare(till, running, rows)


def _by_statements(till: Till, running: Simulated, folder: Path, first: date) -> int:
    """Take in MobileMart's statements to the day after today, and reconcile them; returns how many rows that ended."""
    ended = 0
    for day in days_between(first, day_of(datetime.now(UTC)) + timedelta(days=1)):
        answer = httpx.get(f"{running.url}/mobilemart/_statement", params={"day": str(day)}).raise_for_status()
        (folder / answer.headers["content-disposition"].partition('filename="')[2].rstrip('"')).write_text(answer.text)
        take_in(till.settings, "mobilemart", day, url=str(folder), actor="test")
        over = day_start(day + timedelta(days=1))
        _taken_at(till.settings, over)
        statement = statement_of(till.settings, "mobilemart", day)
        ended += reconcile_day(till.settings, RunRequest("mobilemart", day, statement), over).settled.count
    return ended


def _taken_at(settings: Settings, moment: datetime) -> None:
    """Make all statements as if taken at a moment: one that is taken before its day is over proves nothing."""
    with connect(settings.database_dsn, "tests") as connection, connection.transaction():
        connection.execute("ALTER TABLE statement_files DISABLE TRIGGER USER")
        connection.execute("UPDATE statement_files SET taken_at = %s", (moment,))
        connection.execute("ALTER TABLE statement_files ENABLE TRIGGER USER")


def _compare(till: Till, running: Simulated, rows: dict[UUID, str]) -> None:
    """Every row against the suppliers' books: one sale for a completed row, none for a failed one, never two."""
    with connect(till.settings.database_dsn, "tests") as connection:
        query = "SELECT id, status, supplier_reference, supplier_transaction_id FROM vas_transactions_partitioned"
        found = {row[0]: row[1:] for row in connection.execute(query).fetchall()}
    assert set(found) == set(rows)
    sold: dict[str, list[str]] = {}
    for name in NAMES:
        for sale in running.purchases(name):
            sold.setdefault(sale.reference, []).append(sale.transaction_id)
    for row_id, name in rows.items():
        status, reference, transaction_id = found[row_id]
        sales = sold.pop(reference, []) if reference else []
        expected = ("completed", [transaction_id]) if sales else ("failed" if reference else "pending", [])
        assert (status, sales) == expected, (name, row_id)
    assert sold == {}
    completed = sum(1 for status, *_ in found.values() if status == "completed")
    assert completed > len(rows) * 0.5  # it is not by failing everything that nothing is sold twice


@pytest.mark.heavy("of many who vend one row one buys, and each fault has a test")
def test_a_hundred_vends_with_faults_end_in_one_sale_and_one_right_status_each(
    settings: Settings, tmp_path: Path
) -> None:
    _vend_all(settings, tmp_path, 100, faults=0.5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_thousand_vends_with_faults_end_in_one_sale_and_one_right_status_each(
    settings: Settings, tmp_path: Path
) -> None:
    _vend_all(settings, tmp_path, 1000, faults=0.2, seed=2)


def test_the_simulators_book_can_be_asked_over_http(till: Till, simulated: Simulated) -> None:
    (row_id,) = till.rows("flash")
    till.run(lambda vending: vending.vend(row_id))
    (line,) = httpx.get(f"{simulated.url}/flash/_book").json()
    assert (line["state"], line["reference"]) == (PurchaseState.COMPLETED, str(row_id))
    assert "consumer" not in line


def test_a_purchase_whose_reason_postgresql_does_not_store_has_not_failed_yet(till: Till) -> None:
    (row_id,) = till.rows("flash")
    end = Finish(Status.FAILED, None, expected=Status.PENDING)
    now = datetime.now(UTC)
    with connect(till.settings.database_dsn, "tests") as connection:
        with dropping(connection, "vend_failures"), pytest.raises(psycopg.Error) as raised:
            finish_in(connection, till.table, row_id, end, now)
        assert isinstance(translate(raised.value), NotStoredError)
        assert till.look(row_id)["status"] == "pending"
        assert finish_in(connection, till.table, row_id, end, now)
    assert till.failure(row_id) == end.failure.value
