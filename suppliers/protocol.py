"""The questions that every supplier answers, and the values that go both ways. Read this first.

The rule that all of them keep: `SupplierClient.purchase` raises only when nothing can have been sold. Every other
result is an `Outcome`, also when the supplier gave no answer. An unknown outcome is settled by
`SupplierClient.resolve` alone, which follows the supplier's own status rule and never sells a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from ledger.errors import DataError
from ledger.transactions import VasType
from suppliers.verdicts import PurchaseState, Verdict

WEBHOOK_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Product:
    """One line of a supplier's catalogue. Amounts are rand; None where any amount is sold."""

    code: str
    name: str
    vas_type: VasType | None
    minimum: Decimal | None
    maximum: Decimal | None
    active: bool = True
    reversible: bool = False


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """One purchase, made from one row and from nothing else, so that asking again asks for the very same thing.

    ``reference`` follows from ``row_id`` (`SupplierClient.reference_of`). ``requested_at`` is when it was first sent,
    UTC.
    """

    row_id: UUID
    reference: str
    vas_type: VasType
    product_code: str
    amount: Decimal
    requested_at: datetime
    mobile_number: str | None = field(default=None, repr=False)
    meter_number: str | None = field(default=None, repr=False)
    account_number: str | None = field(default=None, repr=False)
    bank: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of a purchase. It holds no PIN, no token and nobody's number; ``detail`` is safe to show to anyone.

    ``commission`` is None when the supplier does not report it. ``code`` is the supplier's own answer code.
    """

    state: PurchaseState
    verdict: Verdict
    supplier_reference: str
    supplier_transaction_id: str | None = None
    amount: Decimal | None = None
    commission: Decimal | None = None
    code: str | None = None
    detail: str = ""


class SignatureError(DataError):
    """A webhook is not signed with our secret: nothing in it may be believed."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A genuine webhook. ``timestamp`` is the payload's, UTC; ``payment_id`` is the supplier's, once there is one."""

    reference: str
    verdict: Verdict
    code: str
    timestamp: datetime
    amount: Decimal | None
    currency: str | None
    payment_id: str | None
    checkout_id: str | None


class SupplierClient(Protocol):
    """A supplier's client. Open in an event loop, closed with `aclose`; safe for any number of calls at once."""

    @property
    def name(self) -> str:
        """Its name, as in the column ``supplier``."""

    def reference_of(self, row_id: UUID) -> str:
        """The reference that it knows this row's purchase by."""

    def believes(self, outcome: Outcome, age: timedelta) -> bool:
        """Return whether a purchase of this age that is absent or cancelled can be taken for failed."""

    async def authenticate(self) -> None:
        """Get a fresh token. Raises BadCredentialsError, TransientError."""

    async def products(self) -> Sequence[Product]:
        """The catalogue. Raises TransientError, ConfigError."""

    async def purchase(self, request: PurchaseRequest) -> Outcome:
        """Buy. Raises TransientError, ConfigError and DataError, and then nothing can have been sold."""

    async def resolve(self, request: PurchaseRequest) -> Outcome:
        """Find out the outcome of a purchase. Safe to repeat; never sells twice.

        Raises TransientError and ConfigError: then it is as unknown as before.
        """

    async def reverse(self, request: PurchaseRequest, sold: Outcome, reference: str) -> Outcome:
        """Undo a completed purchase under a ``reference`` of its own; DeclinedError where that does not exist."""

    async def fetch_statement(self, day: date) -> bytes | None:
        """The statement of one Africa/Johannesburg day as the API gives it; None where statements come as files."""

    async def aclose(self) -> None:
        """Close its connections."""
