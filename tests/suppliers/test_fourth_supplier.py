"""The worked example: a fourth supplier in one folder keeps every promise that the three keep."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.suppliers import SimulatorSettings
from examples.fourth_supplier.client import Voucherly, VoucherlySettings
from examples.fourth_supplier.simulator import KEY, NAME, TRIALS, create_app
from ledger.transactions import VasType
from suppliers.errors import BadCredentialsError
from suppliers.protocol import Outcome, Supplier
from suppliers.simulation.book import Book
from suppliers.verdicts import State
from tasks.supplier_tests import Check, Result, check_supplier
from tests.suppliers.conftest import QUICK, request, serving

VOUCHER = (VasType.VOUCHER_TOPUP, "books", "20.00")


@pytest.fixture
def book() -> Iterator[Book]:
    """What the example's simulator has sold."""
    book = Book()
    yield book
    book.close()


def test_it_passes_the_supplier_tests(book: Book) -> None:
    checks: list[Check] = []

    async def run(url: str) -> None:
        supplier: Supplier = Voucherly(VoucherlySettings(base_url=url, key=SecretStr(KEY), **QUICK))
        await check_supplier(supplier, TRIALS, checks, simulated=True)
        await supplier.aclose()

    with serving(create_app(SimulatorSettings(), book)) as url:
        asyncio.run(run(url))
    assert [check for check in checks if check.result is not Result.PASSED] == []
    assert len(checks) == 2 + 2 * len(TRIALS) + 1


def test_it_never_sells_twice_and_finds_every_sale(book: Book) -> None:
    async def run(url: str) -> list[Outcome]:
        supplier = Voucherly(
            VoucherlySettings.model_validate(
                {**QUICK, "base_url": url, "key": KEY, "call_timeout_s": 0.3, "attempts": 5}
            )
        )
        outcomes = []
        for _ in range(40):
            wanted = request(supplier, VOUCHER)
            try:
                outcome = await supplier.purchase(wanted)
            except Exception as error:  # noqa: BLE001  # then nothing was sold, which the book shows below
                outcomes.append(error)
                continue
            outcomes.append(outcome if outcome.state is State.COMPLETED else await _resolved(supplier, wanted))
        await supplier.aclose()
        return outcomes

    async def _resolved(supplier, wanted):  # type: ignore[no-untyped-def]
        while True:
            try:
                return await supplier.resolve(wanted)
            except Exception:  # noqa: BLE001, S112  # a question may be put again
                continue

    with serving(create_app(SimulatorSettings(faults=0.3, seed=3, hang_s=2), book)) as url:
        outcomes = asyncio.run(run(url))
    references = [sale.reference for sale in book.all(NAME)]
    assert len(references) == len(set(references))
    sold = {one.supplier_reference for one in outcomes if isinstance(one, Outcome) and one.state is State.COMPLETED}
    assert sold == set(references)
    assert len(sold) > 20


def test_a_wrong_key_is_a_setting_to_mend(book: Book) -> None:
    async def run(url: str) -> None:
        supplier = Voucherly(VoucherlySettings(base_url=url, key=SecretStr("wrong"), **QUICK))
        try:
            await supplier.authenticate()
        finally:
            await supplier.aclose()

    with serving(create_app(SimulatorSettings(), book)) as url, pytest.raises(BadCredentialsError):
        asyncio.run(run(url))


def test_the_document_names_its_files() -> None:
    project = Path(__file__).parents[2]
    text = (project / "docs/suppliers.md").read_text(encoding="utf-8")
    for name in ("client.py", "simulator.py"):
        assert f"examples/fourth_supplier/{name}" in text
