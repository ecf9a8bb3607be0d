"""The settings of the suppliers: where each one is, the credentials, and the limits of its client.

What is not set is served by the simulators. A real supplier is configuration only: its ``environment`` and credentials.
"""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from config.plugins import with_plugins
from ledger.business_days import parse_day
from ledger.errors import ConfigError
from ledger.statements import BreakClass, ComparedStatus, LineKind
from ledger.transactions import VasType

Environment = Literal["simulator", "sandbox", "production"]
StatementField = Literal[
    "id", "reference", "amount", "currency", "status", "settlement_reference", "occurred_at", "kind"
]
_KINDS: Mapping[str, LineKind] = {
    "Purchase": LineKind.PURCHASE,
    "Refund": LineKind.REFUND,
    "Reversal": LineKind.REVERSAL,
}
_PEACH_FIELDS: Mapping[StatementField, str] = {
    "id": "id",
    "reference": "merchantTransactionId",
    "amount": "amount",
    "currency": "currency",
    "status": "settlementStatus",
    "settlement_reference": "settlementReference",
    "occurred_at": "timestamp",
}
_PEACH_STATUSES: Mapping[str, ComparedStatus] = {
    "SETTLED": ComparedStatus.COMPLETED,
    "PENDING": ComparedStatus.PENDING,
    "FAILED": ComparedStatus.FAILED,
    "REVERSED": ComparedStatus.REVERSED,
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _encrypted(url: str) -> str:
    """Refuse an address over which a secret would travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("must start with https://; http:// only on this machine")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_encrypted)]
Rate = Annotated[Decimal, Field(ge=0, le=1, max_digits=7, decimal_places=6)]
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


_WEEKDAYS = frozenset({"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"})


def _weekday_or_day(text: str) -> str:
    if text not in _WEEKDAYS:
        try:
            parse_day(text)
        except ValueError:
            raise ValueError("must be a weekday in small letters, such as sunday, or a day as YYYY-MM-DD") from None
    return text


NoStatementDay = Annotated[str, AfterValidator(_weekday_or_day)]


class Connection(BaseModel):
    """The settings that every supplier has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Purchases and checks go to this supplier")
    environment: Environment = Field("simulator", description="Whose hosts are called")
    token_timeout_s: float = Field(10.0, gt=0, le=60, description="How long a token may take")
    call_timeout_s: float = Field(30.0, gt=0, le=300, description="How long any other call may take")
    calls_per_s: float = Field(20.0, gt=0, le=1000, description="Most calls in a second, over all of one process")
    connections: int = Field(20, ge=1, le=200, description="Most open connections of one process")
    attempts: int = Field(3, ge=1, le=10, description="Tries of what is safe to repeat")
    retry_wait_s: float = Field(0.5, ge=0, le=30, description="First pause between tries; doubles, with jitter")
    breaker_failures: int = Field(8, ge=1, le=1000, description="Failures in a row after which calls stop")
    breaker_pause_s: float = Field(30.0, gt=0, le=3600, description="How long they stop")
    token_early_s: float = Field(120.0, ge=0, le=1800, description="How long before its end a token is renewed")
    answer_limit_bytes: int = Field(8 << 20, ge=1024, description="Largest answer that is read")
    absent_after_s: float = Field(
        900.0, gt=0, le=604_800, description="Age at which `there is no such purchase` is believed"
    )
    commission: dict[str, Rate] = Field(
        default_factory=dict, description="Share of the amount, by product code or else by VAS type"
    )
    statement_url: str | None = Field(None, description="Folder of its statements: a path, s3://... or sftp://...")
    statement_password: SecretStr | None = Field(None, description="Password of an sftp:// folder")
    statement_key_file: Path | None = Field(None, description="Private key of an sftp:// folder")
    statement_known_hosts: Path | None = Field(None, description="OpenSSH's file of host keys; sftp:// needs it")
    statement_limit_mb: int = Field(512, ge=1, le=2048, description="Largest statement that is read")
    statement_none_on: tuple[NoStatementDay, ...] = Field(
        (), description="Weekdays (sunday) and days (2026-12-25) for which the supplier sends no statement"
    )
    statement_absent_days: int | None = Field(
        None, ge=1, le=31, description="Days after which a purchase that no statement has was not sold; empty: never"
    )

    @property
    def asked_again_within(self) -> timedelta:
        """How long after a row was made a purchase for it may still reach the supplier."""
        return timedelta(0)

    @property
    def address(self) -> str | None:
        """Where purchases go, while it is set: else the environment's own host, or a simulator."""
        url: str | None = getattr(self, "base_url", None)
        return url

    def commission_rate(self, product_code: str | None, vas_type: str) -> Decimal:
        """The contract's share of an amount: the product's own, else its VAS type's, else zero."""
        return self.commission.get(product_code or "", self.commission.get(vas_type, Decimal(0)))

    def _require(self, *names: str) -> None:
        """Outside of the simulator, each of ``names`` must be set."""
        missing = [name for name in names if getattr(self, name) is None]
        if self.enabled and self.environment != "simulator" and missing:
            raise ValueError(f"{', '.join(missing)}: needed in {self.environment}")


class FlashSettings(Connection):
    """Flash, Partner API v4."""

    base_url: Address | None = Field(None, description="Instead of the environment's own host")
    consumer_key: SecretStr | None = None
    consumer_secret: SecretStr | None = None
    account: Identifier | None = Field(None, description="Account number that purchases are charged to")
    store_id: Identifier = "1"
    terminal_id: Identifier = "1"
    resend_hours: int = Field(
        24, ge=1, le=720, description="Age up to which posting a reference again is taken for a question, not a sale"
    )

    statement_kinds: dict[str, LineKind] = Field(
        default_factory=lambda: dict(_KINDS),
        description="What each Transaction Type of a statement is; a payout's is not published",
    )
    statement_payout: Literal["Reference", "Transaction ID"] = Field(
        "Reference", description="The column of a payout's line that rows and entries know it by"
    )
    statement_fee: Literal["deducted", "added"] = Field(
        "deducted", description="Net is gross - commission - fee, or + fee: which is not published"
    )

    statement_absent_days: int | None = Field(
        1, ge=1, le=31, description="Days after which a purchase that no statement has was not sold; empty: never"
    )

    @property
    def asked_again_within(self) -> timedelta:
        """Posting a reference again may be the sale itself."""
        return timedelta(hours=self.resend_hours)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._require("consumer_key", "consumer_secret", "account")
        return self


class MobileMartSettings(Connection):
    """MobileMart, Fulcrum switch."""

    call_timeout_s: float = Field(60.0, gt=0, le=300, description="How long any other call may take")
    base_url: Address | None = Field(None, description="Instead of the environment's own host")
    client_id: SecretStr | None = None
    client_secret: SecretStr | None = None
    merchant_name: Identifier = Field("DEMO", description="The name in the statement's file name")
    tender_type: str = Field("Wallet", min_length=1, max_length=32)
    reprint_parameter: Identifier = Field("requestId", description="Parameter that reprint and reverse find a sale by")
    reprinted: tuple[VasType, ...] = Field(
        (VasType.DATA, VasType.VOUCHER_TOPUP, VasType.ELECTRICITY), description="VAS types that have a reprint"
    )
    reprint_absent: tuple[int, ...] = Field(
        (), description="fulcrumErrorCode by which a reprint says that there is no such sale; no other is believed"
    )

    statement_binned: Literal["failed", "reversed"] = Field("reversed", description="What Binned means in a statement")
    statement_kinds: dict[str, LineKind] = Field(
        default_factory=lambda: dict(_KINDS),
        description="What each txnType of a statement is; a payout's is not published",
    )
    statement_payout: Literal["merchantTxnId", "fulcrumTxnId"] = Field(
        "merchantTxnId", description="The field of a payout's line that rows and entries know it by"
    )
    statement_products: dict[str, Identifier] = Field(
        default_factory=dict, description="The product code of a statement's productName; it has no code itself"
    )

    statement_absent_days: int | None = Field(
        1, ge=1, le=31, description="Days after which a purchase that no statement has was not sold; empty: never"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._require("client_id", "client_secret")
        return self


class PeachSettings(Connection):
    """Peach Payments: the payments, checkout and reconciliation APIs."""

    auth_url: Address | None = Field(None, description="Instead of the environment's own host")
    checkout_url: Address | None = Field(None, description="Instead of the environment's own host")
    payments_url: Address | None = Field(None, description="Instead of the environment's own host")
    reconciliation_url: Address | None = Field(None, description="Must be set for the sandbox's statements")
    client_id: SecretStr | None = None
    client_secret: SecretStr | None = None
    merchant_id: Identifier | None = None
    user_id: SecretStr | None = None
    password: SecretStr | None = None
    entity_id: Identifier | None = None
    webhook_secret: SecretStr | None = Field(None, description="What checkout webhooks are signed with")
    referer: Address = Field("https://localhost", description="Allow-listed with Peach for checkouts")
    result_url: Address = Field("https://localhost/paid", description="Where a shopper is sent after a checkout")
    bank: str = Field("Any", min_length=1, max_length=64, description="PayShap bank where a purchase names none")
    cancelled_after_s: float = Field(
        86_400.0, gt=0, le=2_592_000, description="Age at which `cancelled` is believed: it may still become successful"
    )

    statement_list: str = Field("transactions", description="Name of the list, where the answer is an object")
    statement_fields: dict[StatementField, str] = Field(
        default_factory=lambda: dict(_PEACH_FIELDS), description="What Peach calls each field of a statement"
    )
    statement_statuses: dict[str, ComparedStatus] = Field(
        default_factory=lambda: dict(_PEACH_STATUSES), description="What each settlementStatus of a statement is"
    )
    statement_kinds: dict[str, LineKind] = Field(
        default_factory=dict, description="What each word of the field `kind` is, where statement_fields names one"
    )
    statement_settlements: Literal["unique", "shared"] = Field(
        "unique", description="Whether a settlementReference is one entry's, or that of all that were paid out together"
    )
    statement_days_before: int = Field(
        0, ge=0, le=31, description="Days before a statement's own that its payments may be of"
    )

    @property
    def address(self) -> str | None:
        """Where payments go."""
        return self.payments_url

    @field_validator("statement_fields")
    @classmethod
    def _every_field(cls, value: dict[StatementField, str]) -> dict[StatementField, str]:
        named = dict(_PEACH_FIELDS) | value
        if len(set(named.values())) < len(named):
            raise ValueError("two fields have one name")
        return named

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._require("client_id", "client_secret", "merchant_id", "user_id", "password", "entity_id", "webhook_secret")
        return self


class SimulatorSettings(BaseModel):
    """The behaviour of the simulators."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults: float = Field(0.0, ge=0, le=1, description="Share of requests that something goes wrong with")
    seed: int = Field(1, description="The same seed draws the same faults")
    latency_ms: int = Field(0, ge=0, le=60_000, description="How long each answer takes")
    hang_s: float = Field(90.0, gt=0, le=600, description="How long a request hangs when that is its fault")
    token_life_s: int = Field(3600, ge=1, le=86_400, description="How long a token is good")
    planted: dict[str, dict[BreakClass, Annotated[int, Field(ge=0, le=1_000_000)]]] = Field(
        default_factory=dict, description="By supplier: how many differences of each class its statements have"
    )
    recon_calls_per_s: float = Field(1.0, gt=0, le=1000, description="Allowed calls of Peach's reconciliation API")


class Suppliers(BaseModel):
    """The suppliers by name, and the simulators that replace those that are not configured.

    The settings of a supplier whose folder is named in ``modules`` are a further field, of its own model.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    modules: tuple[str, ...] = Field((), description="Packages of further suppliers, each with its DEFINITION")

    flash: FlashSettings = Field(default_factory=FlashSettings)
    mobilemart: MobileMartSettings = Field(default_factory=MobileMartSettings)
    peach: PeachSettings = Field(default_factory=PeachSettings)
    simulator: SimulatorSettings = Field(default_factory=SimulatorSettings)
    vend_timeout_s: float = Field(120.0, gt=0, le=600, description="How long one purchase may take with its retries")
    settle_after_s: float = Field(
        300.0, gt=0, le=86_400, description="Age at which the sweep asks what became of a purchase that is still open"
    )
    failures_kept_days: int = Field(
        90, ge=1, le=3660, description="How long the client of a failed purchase can read why it failed"
    )

    @model_validator(mode="before")
    @classmethod
    def _further(cls, data: Any) -> Any:
        """The settings of the suppliers in ``modules``, each by its own model; no other further field."""
        return with_plugins(data, cls.model_fields) if isinstance(data, Mapping) else data

    @property
    def everyone(self) -> dict[str, Connection]:
        """The settings of each supplier, by its name: the project's own, then those of ``modules``."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: connection
            for name, connection in (own | (self.model_extra or {})).items()
            if isinstance(connection, Connection)
        }

    @property
    def further(self) -> tuple[str, ...]:
        """The names of the suppliers of ``modules``."""
        return tuple(self.model_extra or {})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all of them."""
        return tuple(self.everyone)

    def require(self, name: str) -> None:
        """Raise ConfigError that lists the known suppliers when ``name`` is none of them."""
        if name not in self.names:
            raise ConfigError(f"supplier: {name!r} is not known; known: {', '.join(self.names)}")

    @property
    def connections(self) -> dict[str, Connection]:
        """The settings of each supplier that is enabled, by its name."""
        return {name: connection for name, connection in self.everyone.items() if connection.enabled}

    @property
    def simulated(self) -> list[str]:
        """The names of the enabled suppliers that use a simulator and have no address yet."""
        return [
            name
            for name, connection in self.connections.items()
            if connection.environment == "simulator" and connection.address is None
        ]

    @model_validator(mode="after")
    def _sweep_comes_after_the_purchase(self) -> Self:
        if self.settle_after_s <= self.vend_timeout_s:
            raise ValueError("settle_after_s: must be more than vend_timeout_s: the purchase may still be under way")
        return self


# The names of the project's own suppliers; those of ``modules`` are known only once settings are read.
OWN_SUPPLIERS = tuple(
    name
    for name, field in Suppliers.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Connection)
)
