"""The rules of the watch over transactions. Amounts are per currency; a currency that is not named is not watched."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ledger.alerts import Severity
from ledger.business_days import ZONE

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Amounts = dict[Currency, Money]
Type = Literal["send", "receive", "deposit", "withdraw", "transfer", "payment", "refund"]
Types = Annotated[tuple[Type, ...], Field(min_length=1)]
_EVERY_TYPE: tuple[Type, ...] = ("send", "receive", "deposit", "withdraw", "transfer", "payment", "refund")


def _rand(amount: str) -> Amounts:
    return {"ZAR": Decimal(amount)}


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("must be a time zone of the IANA database, such as Africa/Johannesburg")
    return name


class RuleSettings(BaseModel):
    """The settings of every rule: whether it is evaluated, and the severity of its alert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    severity: Severity = Severity.WARNING


class Single(RuleSettings):
    """One transaction of at least this amount."""

    severity: Severity = Severity.CRITICAL
    amounts: Amounts = Field(default_factory=lambda: _rand("50000.00"))
    types: Types = _EVERY_TYPE


class Daily(RuleSettings):
    """The sum of a user's day reaches this amount."""

    severity: Severity = Severity.CRITICAL
    amounts: Amounts = Field(default_factory=lambda: _rand("25000.00"))
    types: Types = _EVERY_TYPE


class CashThreshold(RuleSettings):
    """Cash within a band that ends at the amount that must be reported; several in 24 hours are structuring."""

    lowest: Amounts = Field(default_factory=lambda: _rand("24000.00"))
    highest: Amounts = Field(default_factory=lambda: _rand("24999.99"))
    types: Types = ("deposit", "withdraw")
    structuring_count: int = Field(3, ge=2, le=1000, description="So many of them of a user in 24 hours")
    structuring_severity: Severity = Severity.CRITICAL

    @model_validator(mode="after")
    def _bands_have_two_ends(self) -> Self:
        if self.lowest.keys() != self.highest.keys():
            raise ValueError("lowest and highest must name the same currencies")
        for currency, lowest in self.lowest.items():
            if lowest > self.highest[currency]:
                raise ValueError(f"{currency}: lowest must not be above highest")
        return self


class Velocity(RuleSettings):
    """So many transactions of a user in so many minutes."""

    count: int = Field(20, ge=2, le=100_000)
    minutes: int = Field(10, ge=1, le=1440)


class InAndOut(RuleSettings):
    """Money that came into a wallet and has left it again, most of it, within minutes."""

    minutes: int = Field(60, ge=1, le=1440)
    percent: int = Field(90, ge=1, le=100)
    amounts: Amounts = Field(default_factory=lambda: _rand("5000.00"), description="Smallest incoming amount")
    incoming: Types = ("receive", "deposit")
    outgoing: Types = ("send", "withdraw")


class Dormant(RuleSettings):
    """A user does something for the first time in so many days."""

    days: int = Field(90, ge=1, le=3650)


class Unusual(RuleSettings):
    """An amount above so many times the mean of its type."""

    factor: Decimal = Field(Decimal(3), gt=1, le=1000, max_digits=6, decimal_places=2)
    baseline_days: int = Field(30, ge=1, le=366, description="Ended days that the mean is taken over")
    minimum_sample: int = Field(1000, ge=2, description="Rows that a mean must come from")
    amounts: Amounts = Field(default_factory=lambda: _rand("10000.00"), description="Smallest amount that is looked at")


class WatchTransactions(BaseModel):
    """The rules over transactions, and how they are worked through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    zone: Annotated[str, AfterValidator(_known_zone)] = Field(ZONE, description="Whose days are meant")
    overlap_s: int = Field(
        150, ge=1, le=3600, description="How long before its transaction's first write a row's created_at may be"
    )
    longest_transaction_s: int = Field(
        14_400, ge=60, le=86_400, description="How long a transaction may take to commit and its rows are still seen"
    )
    first_hours: int = Field(24, ge=0, le=720, description="How far back the first run of all begins")
    slice_s: int = Field(60, ge=1, le=3600, description="Time span of rows that are evaluated in one transaction")
    run_limit_s: int = Field(40, ge=1, le=3600, description="No slice is begun after it")
    statement_timeout_s: int = Field(30, ge=1, le=600)
    alerts_each: int = Field(50, ge=1, le=1000, description="Alerts of one rule and slice; the rest share one")
    quiet_hours: int = Field(168, ge=1, le=8760, description="After which an alert with no new finding is resolved")

    single: Single = Field(default_factory=Single)
    daily: Daily = Field(default_factory=Daily)
    cash_threshold: CashThreshold = Field(default_factory=CashThreshold)
    velocity: Velocity = Field(default_factory=Velocity)
    in_and_out: InAndOut = Field(default_factory=InAndOut)
    dormant: Dormant = Field(default_factory=Dormant)
    unusual: Unusual = Field(default_factory=Unusual)
