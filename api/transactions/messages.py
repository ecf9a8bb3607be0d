"""The messages on the wire, as types: the OpenAPI document is made from these, and the tests decode answers with them.

They describe; the rules themselves are `ledger.transactions`, and a test holds the two together.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from ledger.transactions import SUPPLIERS, Status, Supplier, TransactionType, VasType
from suppliers.verdicts import Failure

# No control characters; and, for a name, no space at either end.
NAME = r"^[^\x00-\x20\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f])?$"
PRINTABLE = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
INSTANT = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)$"
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=NAME, examples=["wallet-1"])]
# Rows that are older than a rule, or came by other doors, are given as they are.
StoredName = Annotated[str, Meta(min_length=1, max_length=64, pattern=PRINTABLE, examples=["wallet-1"])]
Reference = Annotated[str, Meta(min_length=1, max_length=128, pattern=PRINTABLE, examples=["order-1001"])]
Instant = Annotated[datetime, Meta(extra_json_schema={"pattern": INSTANT})]
Money = Annotated[
    str,
    Meta(pattern=r"^-?\d{1,16}(\.\d{1,2})?$", description="A decimal string, never a number", examples=["120.50"]),
]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217", examples=["ZAR"])]
Mobile = Annotated[str, Meta(pattern=r"^\+?\d{9,15}$", examples=["+27831234567"])]

# Bodies that can be sent as they are: the interactive page starts with them.
EXAMPLE = {"user_id": "user-1", "wallet_id": "wallet-1", "type": "payment", "amount": "120.50", "currency": "ZAR"}
VAS_EXAMPLE = {**EXAMPLE, "supplier": SUPPLIERS[0], "vas_type": "airtime"}


class NewTransaction(Struct, kw_only=True, forbid_unknown_fields=True):
    """A transaction to store. The server sets the client (that of the API key), the id and the times."""

    user_id: Annotated[Name, Meta(examples=["user-1"])]
    wallet_id: Name
    type: TransactionType
    amount: Annotated[Money, Meta(description="More than 0")]
    currency: Currency
    counterparty_wallet_id: Name | None = None
    status: Status | None = Status.PENDING
    fee: Annotated[Money, Meta(description="0 or more")] | None = "0.00"
    reference: Reference | None = None
    description: Annotated[str, Meta(min_length=1, max_length=512, pattern=PRINTABLE)] | None = None
    metadata: Annotated[dict[str, Any], Meta(description="At most 4096 bytes and 5 levels")] | None = None


class NewVasTransaction(NewTransaction, kw_only=True, forbid_unknown_fields=True):
    """A value-added service (VAS) transaction to store."""

    supplier: Supplier
    vas_type: VasType
    supplier_product_id: Name | None = None
    supplier_reference: Reference | None = None
    supplier_transaction_id: Reference | None = None
    commission: Money | None = "0.00"
    mobile_number: Mobile | None = None
    processed_at: Instant | None = None


class VasOrder(NewVasTransaction, kw_only=True, forbid_unknown_fields=True):
    """A value-added service to be stored, and to be bought if ``vend`` is true."""

    vend: Annotated[
        bool,
        Meta(
            description="Whether to buy the product from the supplier. If so, the purchase sets status, "
            "supplier_reference, supplier_transaction_id, commission and processed_at: omit them."
        ),
    ] = False


class VendFailure(Struct, kw_only=True, forbid_unknown_fields=True):
    """The reason why a purchase failed. ``id`` is that of the row."""

    id: UUID
    reason: Annotated[
        Failure,
        Meta(
            description="declined: the supplier refuses the sale. invalid: the number, the product or the amount is "
            "wrong. unavailable: the order is correct; place a new one. not_sold: the supplier did not answer; a "
            "later check showed that nothing was sold."
        ),
    ]
    failed_at: datetime


class Transaction(Struct, kw_only=True, forbid_unknown_fields=True):
    """A stored transaction. ``id`` is a UUIDv7 that contains ``created_at``. Every field is always there."""

    id: UUID
    client_id: Annotated[StoredName, Meta(examples=["acme"])]
    user_id: Annotated[StoredName, Meta(examples=["user-1"])]
    wallet_id: StoredName
    type: TransactionType
    amount: Money
    currency: Currency
    counterparty_wallet_id: StoredName | None
    status: Status
    fee: Money
    reference: Reference | None
    description: Annotated[str, Meta(min_length=1, max_length=512, pattern=PRINTABLE)] | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class VasTransaction(Transaction, kw_only=True, forbid_unknown_fields=True):
    """A stored VAS transaction. ``id`` is a UUIDv7 that contains ``created_at``. Every field is always there."""

    supplier: Supplier
    vas_type: VasType
    supplier_product_id: StoredName | None
    supplier_reference: Reference | None
    supplier_transaction_id: Reference | None
    commission: Money
    mobile_number: Mobile | None
    processed_at: datetime | None


class NewTransactions(Struct, kw_only=True, forbid_unknown_fields=True):
    """A batch. Each item is validated on its own; the valid items are stored together."""

    items: Annotated[list[NewTransaction], Meta(min_length=1)]


class NewVasTransactions(Struct, kw_only=True, forbid_unknown_fields=True):
    """A batch. Each item is validated on its own; the valid items are stored together."""

    items: Annotated[list[NewVasTransaction], Meta(min_length=1)]


class TransactionPage(Struct, kw_only=True):
    """Rows, newest first. ``next_cursor`` gets the next page; it is null on the last page."""

    items: list[Transaction]
    next_cursor: str | None


class VasTransactionPage(Struct, kw_only=True):
    """Rows, newest first. ``next_cursor`` gets the next page; it is null on the last page."""

    items: list[VasTransaction]
    next_cursor: str | None


class TransactionFeed(Struct, kw_only=True):
    """New rows, oldest first. ``next_cursor`` gets the rows behind these, now or later: it is never null.

    ``more``: there may be further rows now. ``complete_until``: rows that were created earlier are all on this page or
    on earlier ones once ``more`` is false.
    """

    items: list[Transaction]
    next_cursor: str
    more: bool
    complete_until: datetime


class VasTransactionFeed(Struct, kw_only=True):
    """New rows, oldest first. ``next_cursor`` gets the rows behind these, now or later: it is never null.

    ``more``: there may be further rows now. ``complete_until``: rows that were created earlier are all on this page or
    on earlier ones once ``more`` is false.
    """

    items: list[VasTransaction]
    next_cursor: str
    more: bool
    complete_until: datetime


class StatusChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """The new status of a transaction."""

    status: Status


class BrokenRule(Struct, kw_only=True):
    """An invalid value: the name of the field and the rule that the value breaks."""

    field: str
    rule: str


class Problem(Struct, kw_only=True, omit_defaults=True):
    """A problem document, as RFC 9457 defines it. ``errors`` is there when a value breaks a rule. ``request_id`` is in
    every answer, but not in the problem of an item of a batch.
    """

    type: str
    title: str
    status: int
    detail: str
    errors: list[BrokenRule] | UnsetType = UNSET
    request_id: str | UnsetType = UNSET


class BatchResult(Struct, kw_only=True, omit_defaults=True):
    """The result of one item: 201 with its ``id``, or 422 with its ``problem``. ``index`` counts from 0."""

    index: int
    status: int
    id: UUID | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class BatchResults(Struct, kw_only=True):
    """The results of a batch, one per item in the order of the items."""

    stored: int
    rejected: int
    results: list[BatchResult]


class Health(Struct, kw_only=True):
    """The state of the process: ``live``, ``ready`` or ``unavailable``."""

    status: str


class Taken(Struct, kw_only=True):
    """The notification has a valid signature and is being processed."""

    status: str
