"""What is planted in a simulator's statement is found again, under its class, and nothing besides."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import Settings
from config.suppliers import SimulatorSettings, Suppliers
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError, DataError
from ledger.statements import BreakClass
from suppliers.registry import definition_of, definitions
from suppliers.simulation.app import create_app
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.planting import differences_of, plant
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.statements.intake import IntakeResult, take_in
from tests.suppliers.conftest import Simulated, simulators
from tests.tasks.reconciliation.books import Books, empty_books
from tests.tasks.statements.samples import parse, table_of

DAY = date(2026, 2, 3)
SELLS = {"flash": ("airtime", "101"), "mobilemart": ("airtime", "1001"), "peach": ("voucher_topup", "PAYSHAP")}
FORMS = {name: one.statement() for name, one in definitions(Suppliers()).items()}
SALES = 40


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    with simulators(SimulatorSettings(recon_calls_per_s=1000)) as found:
        yield found


@pytest.fixture
def simulated(running: Simulated) -> Simulated:
    running.book.clear()
    return running


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    return empty_books(settings, tmp_path)


def sell(simulated: Simulated, books: Books, at: datetime, number: int) -> None:
    """A sale in the simulator's book, and our row of it."""
    vas_type, product = SELLS[books.supplier]
    amount = Decimal(5000 + 37 * number) / 100
    sale = simulated.book.add(
        Sale(
            supplier=books.supplier,
            transaction_id=f"{700_000_000 + number}" if books.supplier == "flash" else f"{number:012x}" + "0" * 20,
            reference=f"ORD{number:08d}",
            kind="purchase",
            state="completed",
            vas_type=vas_type,
            product=product,
            amount_cents=int(amount * 100),
            consumer="0830000123",
            happened_at=at.isoformat(),
        )
    )
    books.own(
        created_at=at,
        amount=amount,
        reference=sale.reference,
        supplier_transaction_id=sale.transaction_id,
        supplier_product_id=product,
        vas_type=vas_type,
        commission=(amount * Decimal("0.03")).quantize(Decimal("0.01")) if books.supplier == "flash" else Decimal(0),
    )


def sell_two_days(simulated: Simulated, books: Books) -> None:
    """Sales of the whole day, and some of the evening before."""
    midnight = datetime.combine(DAY, time(), JOHANNESBURG)
    for number in range(SALES):
        sell(simulated, books, midnight + timedelta(minutes=2 + 35 * number), number)
    for number in range(3):
        sell(simulated, books, midnight - timedelta(hours=3, minutes=number), SALES + number)


def found(books: Books) -> dict[str, str]:
    """Reference to class of every break, whatever became of it; one with several issues is called by all of them."""
    rows = books.sql("SELECT coalesce(line, own) ->> 'reference' AS reference, issues FROM recon_breaks")
    assert len({row["reference"] for row in rows}) == len(rows)
    return {row["reference"]: "+".join(row["issues"]) for row in rows}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("supplier", FORMS)
def test_every_difference_that_a_simulator_plants_is_found_and_nothing_else(
    supplier: str, simulated: Simulated, books: Books, tmp_path: Path
) -> None:
    books.supplier = supplier
    books.settings = books.settings.model_copy(update={"suppliers": simulated.settings})
    sell_two_days(simulated, books)
    wanted = {str(one): 2 for one in differences_of(FORMS[supplier])}
    ask(simulated, "POST", f"{supplier}/_planted?seed=5", wanted)
    statement = ask(simulated, "GET", f"{supplier}/_statement?day={DAY}")
    truth = ask(simulated, "GET", f"{supplier}/_truth?day={DAY}").json()
    name = statement.headers["content-disposition"].split('"')[1]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(statement.content)
    (taken,) = take_in(books.settings, supplier, DAY, url=str(folder), actor="test")
    assert (taken.result, taken.error) == (IntakeResult.TAKEN, "")
    reconcile_day(books.settings, RunRequest(supplier, DAY, statement_of(books.settings, supplier, DAY)))
    assert found(books) == truth
    assert sorted(truth.values()) == sorted(2 * list(wanted))


def ask(simulated: Simulated, method: str, place: str, body: Any = None) -> httpx.Response:
    return httpx.request(method, f"{simulated.url}/{place}", json=body).raise_for_status()


@pytest.mark.parametrize("supplier", FORMS)
@given(seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=15)
def test_a_planted_statement_is_read_and_tells_its_truth(supplier: str, seed: int, data: st.DataObject) -> None:
    sales = table_of(supplier, 60, seed)
    most = sum(
        (kind, status) == ("purchase", "completed")
        for kind, status in zip(sales["kind"].to_pylist(), sales["status"].to_pylist(), strict=True)
    )
    choice = st.sampled_from([one for one in differences_of(FORMS[supplier]) if one is not BreakClass.LATE_POSTING])
    picked = data.draw(st.lists(choice, max_size=min(most, 12)))
    wanted: dict[BreakClass, int] = {one: picked.count(one) for one in picked}
    planted = plant(supplier, FORMS[supplier], DAY, sales, wanted, seed=seed)
    assert planted == plant(supplier, FORMS[supplier], DAY, sales, wanted, seed=seed)
    assert sorted(planted.truth.values()) == sorted(picked)
    read = parse(supplier, planted.content, planted.name).table
    extra = wanted.get(BreakClass.MISSING_HERE, 0) + wanted.get(BreakClass.DUPLICATE, 0)
    assert read.num_rows == sales.num_rows + extra - wanted.get(BreakClass.MISSING_THERE, 0)
    before, after = set(sales["reference"].to_pylist()), set(read["reference"].to_pylist())
    of = {one: {name for name, other in planted.truth.items() if other is one} for one in BreakClass}
    assert before - after == of[BreakClass.MISSING_THERE]
    assert after - before == of[BreakClass.MISSING_HERE]


def test_the_differences_are_the_classes_of_reconciliation() -> None:
    planted = {one for form in FORMS.values() for one in differences_of(form)}
    assert planted == set(BreakClass) - {BreakClass.CLOSED_PERIOD_CHANGED}  # of internal rows: no statement shows it


@pytest.mark.parametrize(
    ("supplier", "difference", "column"),
    [
        ("mobilemart", BreakClass.COMMISSION, "commission"),
        ("peach", BreakClass.COMMISSION, "commission"),
        ("peach", BreakClass.PRODUCT, "product_code or vas_type"),
    ],
)
def test_what_a_statement_cannot_show_is_refused_by_name(
    supplier: str, difference: BreakClass, column: str, running: Simulated
) -> None:
    rule = f"{supplier}: {difference} cannot be planted: its statements do not show {column}"
    with pytest.raises(DataError, match=rule):
        plant(supplier, FORMS[supplier], DAY, table_of(supplier, 9, 1), {difference: 1})
    answer = httpx.post(f"{running.url}/{supplier}/_planted", json={difference: 1})
    assert (answer.status_code, answer.json()) == (409, {"message": rule})
    planted = SimulatorSettings(planted={supplier: {difference: 1}})
    with pytest.raises(DataError, match=rule):
        create_app(Suppliers(simulator=planted), Book())


def test_more_differences_than_sales_and_strange_suppliers_are_refused() -> None:
    sales: pa.Table = table_of("flash", 0, 1)
    with pytest.raises(DataError, match=f"flash: 2 differences need 2 sales of {DAY}, there are 0"):
        plant("flash", FORMS["flash"], DAY, sales, {BreakClass.AMOUNT: 2})
    with pytest.raises(DataError, match="1 differences need 1 sales of earlier days, there are 0"):
        plant("flash", FORMS["flash"], DAY, sales, {BreakClass.LATE_POSTING: 1})
    planted = SimulatorSettings(planted={"nobody": {BreakClass.TIME: 1}})
    with pytest.raises(ConfigError, match="there is no supplier nobody"):
        create_app(Suppliers(simulator=planted), Book())


def test_peachs_api_answers_with_what_the_settings_plant() -> None:
    wanted = {"peach": {BreakClass.AMOUNT: 1}}
    with simulators(SimulatorSettings(recon_calls_per_s=1000, planted=wanted)) as simulated:
        for number in range(3):
            simulated.book.add(
                Sale("peach", f"{number:012x}", f"ORD{number:08d}", "purchase", "completed", "voucher_topup", "P", 1000)
            )
        day = datetime.now(JOHANNESBURG).date()
        content = simulated.ask("peach", lambda supplier: supplier.fetch_statement(day))
        truth = ask(simulated, "GET", f"peach/_truth?day={day}").json()
    form = definition_of(simulated.settings, "peach").statement()
    assert content is not None
    assert form.answer_name is not None
    read = form.parse(content, form.answer_name(day), simulated.settings.connections["peach"]).table
    dearer = read.filter(pa.compute.equal(read["amount"], Decimal("10.12")))["reference"].to_pylist()
    assert dict.fromkeys(dearer, "amount") == truth != {}
