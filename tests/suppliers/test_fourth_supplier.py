"""The worked example of docs/reconciliation.md, followed as it stands there: a fourth supplier in one folder."""

import asyncio
import random
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr, ValidationError

from api.server.app import create_app as create_api
from config import Settings, load_settings
from config.suppliers import SimulatorSettings, Suppliers
from flows.reconcile_supplier import reconcile_supplier
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError, FieldError
from ledger.months import Month
from ledger.statements import BreakClass
from ledger.tables import VAS_TRANSACTIONS
from ledger.transactions import VasType, new_transaction
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from suppliers.errors import BadCredentialsError
from suppliers.protocol import Outcome, SupplierClient
from suppliers.registry import definition_of, definitions, open_suppliers
from suppliers.simulation.app import create_app
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.credentials import with_simulators
from suppliers.simulation.planting import differences_of
from suppliers.verdicts import PurchaseState
from tasks.prefect.deployments import further_deployments
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.statements.intake import IntakeResult as Taken
from tasks.statements.intake import take_in
from tasks.vending.purchase import Vending
from tasks.vending.rows import vend_database
from tasks.vending.supplier_tests import TrialResult, check_suppliers
from tests.sql.ledger_rows import VAS_ROW
from tests.suppliers.conftest import QUICK, request, serving
from tests.tasks.reconciliation.books import Books

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "examples" / "fourth_supplier"
DOCUMENT = (PROJECT / "docs" / "reconciliation.md").read_text(encoding="utf-8")
NAME = "voucherly"
VOUCHER = (VasType.VOUCHER_TOPUP, "books", "20.00")
ORDERS = 20


@dataclass(frozen=True)
class Running:
    """The simulators of all four, and the settings as the document makes them."""

    url: str
    book: Book
    suppliers: Suppliers

    def ask(self, method: str, place: str, body: Any = None) -> httpx.Response:
        """Ask the fourth one's simulator."""
        return httpx.request(method, f"{self.url}/{NAME}/{place}", json=body).raise_for_status()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder in a place of its own, and the one setting that the document tells."""
    place = tmp_path / "acme"
    shutil.copytree(EXAMPLE, place / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(place)
    (variable, value) = re.search(r"^\$ export (TREASURY_SUPPLIERS__MODULES)='(.*)'$", DOCUMENT, re.MULTILINE).groups()  # type: ignore[union-attr]  # then the document is wrong
    monkeypatch.setenv(variable, value)
    yield place / NAME
    for module in [one for one in sys.modules if one == NAME or one.startswith(f"{NAME}.")]:
        del sys.modules[module]


@pytest.fixture
def running(installed: Path) -> Iterator[Running]:
    """Its simulator among the others', with nothing going wrong by itself."""
    with _running(SimulatorSettings()) as found:
        yield found


def _running(simulator: SimulatorSettings, **changes: Any) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def run() -> Iterator[Running]:
        loaded = load_settings().suppliers
        quick = loaded.everyone[NAME].model_copy(update={**QUICK, **changes})
        suppliers = loaded.model_copy(update={NAME: quick, "simulator": simulator})
        book = Book()
        with serving(create_app(suppliers, book)) as url:
            yield Running(url, book, with_simulators(suppliers, url))
        book.close()

    return run()


def test_the_folder_is_what_the_document_lists(installed: Path) -> None:
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", DOCUMENT, re.MULTILINE))
    assert listed == {path.name for path in installed.glob("*.py")}


def test_everything_knows_it_and_nothing_outside_of_its_folder_names_it(running: Running) -> None:
    assert list(definitions(running.suppliers)) == ["flash", "mobilemart", "peach", NAME]
    assert reconcile_supplier.validate_parameters({"supplier": NAME})["supplier"] == NAME
    schema = parameter_schema(reconcile_supplier).properties["supplier"]
    assert schema["enum"] == list(running.suppliers.names)
    assert new_transaction(VAS_TRANSACTIONS, VAS_ROW | {"supplier": NAME}, running.suppliers.names)["supplier"] == NAME
    (further,) = further_deployments(PROJECT, running.suppliers)
    assert (further["name"], further["parameters"]) == ("reconcile-voucherly", {"supplier": NAME})
    sources = [path for folder in ("api", "cli", "config", "flows", "ledger", "servers", "sql", "suppliers")
               for path in (PROJECT / folder).rglob("*") if path.suffix in (".py", ".sql")]  # fmt: skip
    assert [path for path in sources if NAME in path.read_text(encoding="utf-8").lower()] == []


def test_the_api_takes_and_documents_it(running: Running, settings: Settings) -> None:
    api = create_api(settings.model_copy(update={"suppliers": running.suppliers}))
    transport = httpx.ASGITransport(app=api)

    async def document() -> Any:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get("/openapi.json")).json()

    schemas = asyncio.run(document())["components"]["schemas"]
    assert schemas["Supplier"]["enum"] == ["flash", "mobilemart", "peach", NAME]


def test_it_passes_the_supplier_tests(running: Running, settings: Settings) -> None:
    checks = asyncio.run(check_suppliers(settings.model_copy(update={"suppliers": running.suppliers}), [NAME]))
    assert [check for check in checks if check.result is not TrialResult.PASSED] == []
    assert len(checks) == 2 + 2 * len(definition_of(running.suppliers, NAME).trials()) + 1


@pytest.mark.heavy("tests/tasks/statements/test_planting.py plants breaks")
def test_it_is_sold_through_and_its_day_is_closed_with_every_planted_break(
    running: Running, settings: Settings, tmp_path: Path
) -> None:
    """Rows are vended, the statement is taken in, and reconciliation finds what was planted and nothing else."""
    books = Books(settings.model_copy(update={"suppliers": running.suppliers}), tmp_path, NAME)
    _partitions(books.settings)
    day = datetime.now(JOHANNESBURG).date()
    ordered = [_order(books) for _ in range(ORDERS)]
    _sell_the_day_before(running, books)

    async def vend_all() -> None:
        suppliers = books.settings.suppliers
        async with open_suppliers(suppliers, NAME) as clients, vend_database(books.settings) as database:
            vending = Vending(books.settings, database, clients)
            await asyncio.gather(*(vending.vend(row["id"]) for row in ordered))

    asyncio.run(vend_all())
    form = definition_of(running.suppliers, NAME).statement()
    shown = set(differences_of(form))
    assert shown == set(BreakClass) - {BreakClass.CLOSED_PERIOD_CHANGED}
    running.ask("POST", "_planted", dict.fromkeys(shown, 1))
    answer = running.ask("GET", f"_statement?day={day}")
    truth = running.ask("GET", f"_truth?day={day}").json()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / answer.headers["content-disposition"].split('"')[1]).write_bytes(answer.content)
    (taken,) = take_in(books.settings, NAME, day, url=str(folder), actor="test")
    assert (taken.result, taken.error) == (Taken.TAKEN, "")
    reconcile_day(books.settings, RunRequest(NAME, day, statement_of(books.settings, NAME, day)))
    query = "SELECT coalesce(line ->> 'reference', own ->> 'supplier_reference') AS name, issues FROM recon_breaks"
    found = {row["name"]: "+".join(row["issues"]) for row in books.sql(query)}
    assert found == truth
    assert sorted(truth.values()) == sorted(shown)


def _partitions(settings: Settings) -> None:
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, VAS_TRANSACTIONS)
        now = Month.of(datetime.now(UTC))
        for month in (now.plus(-1), now, now.plus(1)):
            ensure_partition(connection, settings, VAS_TRANSACTIONS, month)


def _order(books: Books) -> dict[str, Any]:
    return books.own(
        created_at=datetime.now(UTC).replace(microsecond=0), status="pending", amount=Decimal("20.00"), reference=None,
        vas_type="voucher_topup", supplier_product_id="books", supplier_transaction_id=None, commission=Decimal(0),
    )  # fmt: skip


def _sell_the_day_before(running: Running, books: Books) -> None:
    """A sale whose line will come late, in its book and in ours."""
    midnight = datetime.now(JOHANNESBURG).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight - timedelta(hours=3)
    sale = Sale(NAME, "V00009999", "EVENING-1", "purchase", "completed", "voucher_topup", "books", 2000)
    running.ask("POST", "_book", [{**_public(sale), "happened_at": at.astimezone(UTC).isoformat()}])
    books.own(
        created_at=at, amount=Decimal("20.00"), reference=sale.reference, vas_type=sale.vas_type,
        supplier_product_id=sale.product, supplier_transaction_id=sale.transaction_id, commission=Decimal("1.00"),
    )  # fmt: skip


def _public(sale: Sale) -> dict[str, object]:
    return {name: value for name, value in sale.public().items() if name != "step"}


def test_it_never_sells_twice_and_finds_every_sale(installed: Path) -> None:
    async def run(suppliers: Suppliers) -> list[Any]:
        outcomes: list[Any] = []
        async with open_suppliers(suppliers, NAME) as opened:
            for _ in range(40):
                wanted = request(opened[NAME], VOUCHER)
                try:
                    outcome = await opened[NAME].purchase(wanted)
                except Exception as error:  # noqa: BLE001  # then nothing was sold, which the book shows below
                    outcomes.append(error)
                    continue
                outcomes.append(
                    outcome if outcome.state is PurchaseState.COMPLETED else await _resolved(opened[NAME], wanted)
                )
        return outcomes

    async def _resolved(supplier: SupplierClient, wanted: Any) -> Outcome:
        while True:
            try:
                return await supplier.resolve(wanted)
            except Exception:  # noqa: BLE001, S112  # a question may be put again
                continue

    random.seed(3)
    with _running(SimulatorSettings(faults=0.3, seed=3, hang_s=2), call_timeout_s=0.3, attempts=5) as running:
        outcomes = asyncio.run(run(running.suppliers))
        references = [sale.reference for sale in running.book.all(NAME)]
    assert len(references) == len(set(references))
    sold = {
        one.supplier_reference for one in outcomes if isinstance(one, Outcome) and one.state is PurchaseState.COMPLETED
    }
    assert sold == set(references)
    assert len(sold) > 20


def test_a_wrong_key_is_a_setting_to_mend(running: Running) -> None:
    wrong = running.suppliers.everyone[NAME].model_copy(update={"key": SecretStr("wrong")})

    async def run() -> None:
        async with open_suppliers(running.suppliers.model_copy(update={NAME: wrong}), NAME) as opened:
            await opened[NAME].authenticate()

    with pytest.raises(BadCredentialsError):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"modules": ["nobody_has_this"]}, "nobody_has_this cannot be imported"),
        ({"modules": ["json"]}, "json has no DEFINITION"),
        ({"modules": [NAME, NAME]}, "voucherly is listed twice"),
        ({"modules": ["suppliers.flash"]}, "there is a supplier flash already"),
        ({"modules": [NAME], NAME: {"key": "secret-1234", "colour": "blue"}}, "voucherly.colour: Extra inputs"),
        ({"modules": [NAME], NAME: {"environment": "production"}}, "base_url, key: needed in production"),
        ({NAME: {}}, "voucherly: is neither a setting nor the name of a supplier"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_shown(
    installed: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], rule: str
) -> None:
    monkeypatch.delenv("TREASURY_SUPPLIERS__MODULES")
    with pytest.raises(ValidationError, match=re.escape(rule)) as raised:
        Suppliers.model_validate(given)
    assert "secret-1234" not in "; ".join(error["msg"] for error in raised.value.errors())
    with pytest.raises(ConfigError, match=r"TREASURY_SUPPLIERS") as told:
        load_settings(suppliers=given)
    assert "secret-1234" not in str(told.value)


def test_without_the_setting_nobody_knows_it() -> None:
    with pytest.raises(FieldError, match="must be one of flash, mobilemart, peach"):
        new_transaction(VAS_TRANSACTIONS, VAS_ROW | {"supplier": NAME})
    with pytest.raises(ConfigError, match=r"is not known; known: flash, mobilemart, peach$"):
        definition_of(Suppliers(), NAME)
