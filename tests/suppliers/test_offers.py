"""What a supplier's definition says of its orders is what its client does, and what the documentation lists."""

from pathlib import Path
from typing import Any

import pytest

from config.suppliers import Suppliers
from ledger.errors import DataError, FieldError
from ledger.transactions import VasType
from suppliers.definition import SupplierDefinition
from suppliers.flash.client import PURCHASES
from suppliers.mobilemart.client import KINDS
from suppliers.offers import OrderNeed, check_order
from suppliers.protocol import PurchaseRequest
from suppliers.registry import definitions
from tests.suppliers.conftest import SALES, Simulated, request

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
DEFINITIONS = definitions(Suppliers())
COMPLETE = {"meter_number": "12345678901", "account_number": "123456"}
CHANGES: dict[str, dict[str, Any]] = {
    "complete": {},
    "no number": {"mobile_number": None},
    "an empty number": {"mobile_number": ""},
    "a number of another country": {"mobile_number": "+447700900123"},
    "no meter": {"meter_number": None},
    "no account": {"account_number": None},
    "a product that is not a number": {"product_code": "x1"},
    "a product of ten digits": {"product_code": "1234567890"},
}


@pytest.mark.sampled(36)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("vas_type", VasType)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_order_is_refused_by_the_definition_exactly_when_the_client_would_not_send_it(
    simulated: Simulated, name: str, vas_type: VasType, change: dict[str, Any]
) -> None:
    async def buy(supplier: Any) -> tuple[bool, bool]:
        wanted = request(supplier, (vas_type, *SALES[name][1:]), **COMPLETE | change)
        declared = is_refused(DEFINITIONS[name], wanted)
        try:
            await supplier.purchase(wanted)
        except FieldError:
            return declared, True
        except DataError:  # what the simulator answers is another thing
            return declared, False
        return declared, False

    declared, refused = simulated.ask(name, buy)
    assert declared == refused


def is_refused(definition: SupplierDefinition, wanted: PurchaseRequest) -> bool:
    try:
        check_order(definition.name, definition.offers, wanted)
    except FieldError:
        return True
    return False


def test_the_definitions_name_what_the_clients_have_addresses_for() -> None:
    assert set(DEFINITIONS["flash"].offers) == set(PURCHASES)
    assert set(DEFINITIONS["mobilemart"].offers) == set(KINDS)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_documentation_lists_what_a_supplier_sells_and_what_an_order_needs(name: str) -> None:
    for vas_type in VasType:
        lines = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` | `{vas_type}` |")]
        offer = DEFINITIONS[name].offers.get(vas_type)
        assert lines == ([] if offer is None else [line_of(name, vas_type)]), vas_type


def line_of(name: str, vas_type: VasType) -> str:
    """The line of docs/api.md about one kind of service of one supplier."""
    offer = DEFINITIONS[name].offers[vas_type]
    needs = "; ".join(map(described, offer.needs)) or "nothing more"
    limit = "" if offer.maximum is None else f"; `amount` of at most {offer.maximum:,}"
    return f"| `{name}` | `{vas_type}` | {needs}{limit} |"


def described(need: OrderNeed) -> str:
    """A need in words."""
    return f"`{need.field}`" if need.rule is None else f"`{need.field}`: {need.rule}"
