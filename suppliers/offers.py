"""The offer of a supplier, and the fields that an order of each kind must have. An order that breaks a rule is never
sold.

A supplier's folder declares its offers. By them the API refuses an order before it is stored; `docs/api.md` lists them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledger.errors import FieldError
from ledger.transactions import VasType
from suppliers.numbers import MOBILE, MOBILE_RULE
from suppliers.protocol import PurchaseRequest


@dataclass(frozen=True, slots=True)
class OrderNeed:
    """A text that an order must have. ``attribute`` is its name in `PurchaseRequest`, ``field`` that of the API.

    ``rule`` says in words what ``pattern`` matches; None: any text will do.
    """

    attribute: str
    field: str
    rule: str | None = None
    pattern: re.Pattern[str] | None = None

    def check(self, request: PurchaseRequest, buyer: str) -> None:
        """Raise FieldError when ``request`` does not have it. ``buyer`` says what needs it."""
        value = getattr(request, self.attribute)
        if not value:
            raise FieldError(self.field, f"is required for {buyer}")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise FieldError(self.field, f"must be {self.rule} for {buyer}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind of service that a supplier sells. ``maximum`` is the largest amount in rand, None where any is sold."""

    needs: tuple[OrderNeed, ...] = ()
    maximum: Decimal | None = None


Offers = Mapping[VasType, Offer]
MOBILE_NUMBER = OrderNeed("mobile_number", "mobile_number", MOBILE_RULE, MOBILE)
METER_NUMBER = OrderNeed("meter_number", "metadata.meter_number")
ACCOUNT_NUMBER = OrderNeed("account_number", "metadata.account_number")


def check_order(supplier: str, offers: Offers, request: PurchaseRequest) -> None:
    """Raise FieldError, naming the API's field, for an order that ``supplier`` is known to refuse."""
    offer = offers.get(request.vas_type)
    if offer is None:
        raise FieldError("vas_type", f"must be one of {', '.join(offers)}: {supplier} sells nothing else")
    for need in offer.needs:
        need.check(request, f"{request.vas_type} of {supplier}")
    if offer.maximum is not None and request.amount > offer.maximum:
        raise FieldError("amount", f"must be at most {offer.maximum} for {supplier}")
