"""What the simulators write as their statements, the parsers read."""

from datetime import datetime

import httpx
import pytest

from ledger.business_days import JOHANNESBURG
from suppliers.registry import definition_of
from suppliers.simulation.book import Sale
from tests.suppliers.conftest import Simulated, simulators

PRODUCTS = {"flash": "311", "mobilemart": "", "peach": "PAYSHAP"}


@pytest.mark.parametrize("supplier", PRODUCTS)
def test_a_simulators_statement_is_read_line_for_line(supplier: str) -> None:
    with simulators() as simulated:
        sales = [_sale(simulated, supplier, number) for number in range(5)]
        day = datetime.now(JOHANNESBURG).date()
        answer = httpx.get(f"{simulated.url}/{supplier}/_statement", params={"day": day.isoformat()})
        name = answer.headers["content-disposition"].split('"')[1]
        own = simulated.settings.connections[supplier]
        parsed = definition_of(simulated.settings, supplier).statement().parse(answer.content, name, own)
    assert parsed.day == day
    assert parsed.table["supplier_transaction_id"].to_pylist() == [sale.transaction_id for sale in sales]
    assert parsed.table["reference"].to_pylist() == [sale.reference for sale in sales]
    assert [int(amount * 100) for amount in parsed.table["amount"].to_pylist()] == [sale.amount_cents for sale in sales]


def _sale(simulated: Simulated, supplier: str, number: int) -> Sale:
    """A sale as the book has it."""
    from suppliers.mobilemart.simulator import CATALOGUE

    product = PRODUCTS[supplier] or next(iter(CATALOGUE))
    vas_type = CATALOGUE[product][0].value if supplier == "mobilemart" else "voucher_topup"
    return simulated.book.add(
        Sale(
            supplier=supplier,
            transaction_id=f"{700_000_000 + number}" if supplier == "flash" else f"{number:012x}" + "0" * 20,
            reference=f"ORD{number:08d}",
            kind="purchase",
            state="completed",
            vas_type=vas_type,
            product=product,
            amount_cents=1000 + number,
            consumer="0830000123",
        )
    )
